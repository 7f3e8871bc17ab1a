"""A file's lines, each with the example that it is or with what is wrong with it."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec

from llmos_server.data.encodings import HEAD_BYTES, refuse_whole
from llmos_server.data.examples import Example, Format, TextExample
from llmos_server.data.findings import Finder, Finding
from llmos_server.data.formats import read_example
from llmos_server.data.json_lines import read_object, read_text
from llmos_server.data.lines import MAX_LINE_BYTES, Line, Readable, read_lines


class Scanned(NamedTuple):
    line: int
    num_bytes: int
    example: Example | None
    findings: list[Finding]
    key: bytes = b""
    """Of what it says, in whatever order and spacing: equal lines have the same."""
    is_ascii: bool = True

    @property
    def is_bad(self) -> bool:
        return any(finding.is_error for finding in self.findings)

    @property
    def is_blank(self) -> bool:
        return self.example is None and not self.is_bad


@dataclass(frozen=True)
class Scan:
    """How a file is read."""

    format: Format
    is_plain: bool = False
    """Each line is a text, and no JSON; with the format "text" alone."""
    max_line_bytes: int = MAX_LINE_BYTES

    def file(self, path: Path) -> Iterator[Scanned]:
        """Line 0 comes first and alone where the file as a whole can't be read. Raises OSError."""
        with path.open("rb") as file:
            yield from self.stream(file)

    def stream(self, file: Readable) -> Iterator[Scanned]:
        head = file.read(HEAD_BYTES)
        if (refused := refuse_whole(head)) is not None:
            finder = Finder(0)
            finder.refuse("", *refused)
            yield Scanned(0, 0, None, finder.findings)
            return
        for line in read_lines(_Joined(head, file), self.max_line_bytes):
            yield self._read(line)

    def _read(self, line: Line) -> Scanned:
        finder = Finder(line.number)
        if line.data is None:
            finder.refuse(
                "",
                "line_too_long",
                f"It has {line.num_bytes} bytes, and a line may have {self.max_line_bytes}. Is there an end of line "
                "behind each example?",
            )
            return Scanned(line.number, line.num_bytes, None, finder.findings)
        data = line.data
        if data.startswith(codecs.BOM_UTF8):
            data = data[len(codecs.BOM_UTF8) :]
            finder.warn("", "byte_order_mark", "It begins with a byte order mark, which is left out.")
        if not data.strip():
            return Scanned(line.number, line.num_bytes, None, [])
        text = read_text(data, finder)
        if text is None:
            return Scanned(line.number, line.num_bytes, None, finder.findings, is_ascii=False)
        example, key = self._to_example(text, finder)
        return Scanned(line.number, line.num_bytes, example, finder.findings, key, is_ascii=data.isascii())

    def _to_example(self, text: str, finder: Finder) -> tuple[Example | None, bytes]:
        if self.is_plain:
            return TextExample(line=finder.line, text=text), text.encode()
        value = read_object(text, finder)
        if value is None:
            return None, b""
        return read_example(value, self.format, finder), msgspec.json.encode(value, order="sorted")


class _Joined:
    """A file whose begin was read already."""

    def __init__(self, head: bytes, file: Readable) -> None:
        self._pieces = chain([head])
        self._file = file

    def read(self, size: int) -> bytes:
        return next(self._pieces, b"") or self._file.read(size)
