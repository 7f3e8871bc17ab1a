"""A file's lines, one after the other, in memory that no file can make grow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

CHUNK_BYTES = 2**20
MAX_LINE_BYTES = 16 * 2**20


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Line(NamedTuple):
    number: int
    """From 1."""
    data: bytes | None
    """Without its end; None where it is longer than it may be."""
    num_bytes: int
    """Without its end, also of what was too long."""


def read_lines(file: Readable, max_bytes: int = MAX_LINE_BYTES) -> Iterator[Line]:
    """Lines end at \\n; a \\r before it belongs to the end. What follows the last \\n is a line unless it is empty."""
    number, kept, length = 0, bytearray(), 0
    while chunk := file.read(CHUNK_BYTES):
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            number += 1
            yield _line(number, kept, length, piece, max_bytes)
            kept, length = bytearray(), 0
        length += len(rest)
        if length <= max_bytes:
            kept += rest
        else:
            kept = bytearray()
    if length:
        yield _line(number + 1, kept, length, b"", max_bytes)


def _line(number: int, kept: bytearray, length: int, piece: bytes, max_bytes: int) -> Line:
    """kept: the begin of the line, of so many bytes, from chunks before; empty where they were too many."""
    if length + len(piece) > max_bytes:
        return Line(number, None, length + len(piece))
    data = bytes(kept) + piece if kept else piece
    data = data.removesuffix(b"\r")
    return Line(number, data, len(data))
