"""UTF-8 that arrives in pieces, to whole characters."""

from __future__ import annotations

import codecs

REPLACEMENT = "\ufffd"


class CharacterStream:
    """Decodes as bytes.decode("utf-8", "replace") does over the whole; an unfinished character waits for its rest.

    before: bytes that come before the stream. If they end inside a character, the stream completes it; if it doesn't,
    that character's U+FFFD is not the stream's.
    """

    def __init__(self, before: bytes = b"") -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoder.decode(before)
        self.num_open_bytes = len(self._decoder.getstate()[0])
        """Bytes of the unfinished character: 0 to 3."""
        self.broke_open = False
        """The last piece did not go on with the character that the stream had left unfinished: U+FFFD stands for it."""
        self._is_fresh = True

    def feed(self, data: bytes) -> str:
        """The characters that are whole now."""
        if not data:
            self.broke_open = False
            return ""
        open_bytes = self._decoder.getstate()[0] if self.num_open_bytes else b""
        text = self._decoder.decode(data)
        self.num_open_bytes = len(self._decoder.getstate()[0])
        self.broke_open = bool(open_bytes) and not _goes_on(open_bytes, data[:1])
        if self.broke_open and self._is_fresh:
            self.broke_open = False
            text = text.removeprefix(REPLACEMENT)
        self._is_fresh = False
        return text

    def finish(self) -> str:
        """What an unfinished character becomes when nothing follows."""
        self.num_open_bytes = 0
        rest = self._decoder.decode(b"", True)
        return "" if self._is_fresh else rest


def _goes_on(open_bytes: bytes, byte: bytes) -> bool:
    """Is it a character, or the begin of one, with this byte too?"""
    try:
        (open_bytes + byte).decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"
    return True
