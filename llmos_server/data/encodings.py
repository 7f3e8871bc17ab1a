"""What a file is written in: told from its first bytes, and from the lines that are no UTF-8."""

from __future__ import annotations

import codecs

HEAD_BYTES = 4096

_OTHER_KINDS = {
    b"\x1f\x8b": "compressed with gzip: gunzip it",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: unzstd it",
    b"PK\x03\x04": "a zip archive or a spreadsheet: export its rows as JSON, one object a line",
    b"PAR1": "a Parquet file: export its rows as JSON, one object a line",
    b"%PDF": "a PDF: its text has to be taken out first",
}
_WIDE = "UTF-16 or UTF-32 (or no text at all); save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE > NEW."
_WIDE_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def refuse_whole(head: bytes) -> tuple[str, str] | None:
    """code and message where a file that begins so has no lines to read."""
    for begin, what in _OTHER_KINDS.items():
        if head.startswith(begin):
            return "not_text", f"This is {what}, and upload that."
    if head.startswith(_WIDE_MARKS) or b"\0" in head.partition(b"\n")[0]:
        return "not_utf8", f"This is {_WIDE}"
    return None


def explain_wide(data: bytes) -> str:
    """Of a line that holds a NUL, which no text of UTF-8 does: "" where there is none."""
    return f"It holds NUL bytes, so it is {_WIDE}" if b"\0" in data else ""


def explain_bytes(data: bytes, error: UnicodeDecodeError) -> str:
    """Of a line that is no UTF-8."""
    byte = data[error.start]
    guess = ""
    if byte >= 0x80:
        guessed = bytes([byte]).decode("cp1252", "ignore")
        guess = f"; in Windows-1252 it would be {guessed!r}" if guessed.isprintable() and guessed else ""
    return (
        f"The byte {byte:#04x} at {error.start} of the line isn't UTF-8{guess}. Save the file as UTF-8: "
        "iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW."
    )
