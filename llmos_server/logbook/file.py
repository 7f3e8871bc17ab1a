"""The log's file and the rotated ones, read back from the end, or followed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llmos_server.logbook.lines import MAX_LINE, LogFilter, LogLine, LogPage, NewLines, split_cursor

CHUNK = 2**16
MAX_SCANNED = 16 * 2**20
"""Bytes that one page looks through."""
MAX_NEW = 2**18
"""Bytes of new lines at a time."""
MAX_BEHIND = 4 * 2**20
"""A follower that has more before it goes on near the end."""
MAX_FILES = 100
NAME_BYTES = 512
EMPTY = "none"
"""The name of a file without a whole line."""


@dataclass(frozen=True, slots=True)
class _Open:
    """name: of its first line, so it stays when the file is renamed."""

    name: str
    file: BinaryIO
    end: int
    """Behind its last whole line."""


class FileLog:
    """A LogBook. A cursor is a file's name in the sense above, and a place in bytes between two lines."""

    def __init__(self, path: Path, backups: int) -> None:
        self._path = path
        self._backups = min(backups, MAX_FILES)

    def page(self, wanted: LogFilter, before: str | None, limit: int) -> LogPage:
        lines: list[LogLine] = []
        with ExitStack() as stack:
            files = self._open(stack)
            end = _place(files[0].name, files[0].end) if files else _place(EMPTY, 0)
            scanned = 0
            for opened, start in _from(files, before):
                last = start
                for raw, place in _backwards(opened.file, start):
                    scanned, last = scanned + last - place, place
                    if (line := wanted.read(raw, _place(opened.name, place))) is not None:
                        lines.append(line)
                    if len(lines) == limit or scanned >= MAX_SCANNED:
                        has_more = place > 0 or opened is not files[-1]
                        there = _place(opened.name, place) if has_more else None
                        return LogPage(lines=lines[::-1], before=there, end=end)
        return LogPage(lines=lines[::-1], before=None, end=end)

    def since(self, wanted: LogFilter, cursor: str) -> NewLines:
        name, place = split_cursor(cursor)
        with ExitStack() as stack:
            files = self._open(stack)
            if not files:
                return NewLines(lines=[], cursor=_place(EMPTY, 0), is_gap=name != EMPTY)
            index = _find(files, name)
            is_gap = index is None and name != EMPTY
            if index is None:
                index, place = 0 if is_gap else len(files) - 1, 0
            place = min(place, files[index].end)
            behind = files[index].end - place + sum(opened.end for opened in files[:index])
            if behind > MAX_BEHIND:
                index, is_gap = 0, True
                place = _line_start(files[0], max(0, files[0].end - MAX_NEW))
            while index and place >= files[index].end:
                index, place = index - 1, 0
            lines, place = _forwards(files[index], place, wanted)
        return NewLines(lines=lines, cursor=_place(files[index].name, place), is_gap=is_gap)

    def _open(self, stack: ExitStack) -> list[_Open]:
        """The newest first. One that is renamed meanwhile is there once."""
        found: dict[str, _Open] = {}
        for number in range(self._backups + 1):
            path = f"{self._path}.{number}" if number else self._path
            try:
                file = open(path, "rb")  # noqa: SIM115
            except FileNotFoundError:
                if number:
                    break
                continue
            stack.callback(file.close)
            opened = _Open(_name(file), file, _end(file))
            if opened.name != EMPTY:
                found.setdefault(opened.name, opened)
        return list(found.values())


def _place(name: str, place: int) -> str:
    return f"{name}-{place}"


def _name(file: BinaryIO) -> str:
    """Of the first line's beginning: each line of ours has its time there."""
    file.seek(0)
    first, end, _ = (block := file.read(NAME_BYTES)).partition(b"\n")
    is_whole = bool(end) or len(block) == NAME_BYTES
    return hashlib.blake2b(first, digest_size=8).hexdigest() if is_whole else EMPTY


def _end(file: BinaryIO) -> int:
    """A line is one write, but a crash or a full disk may have left the half of one."""
    size = os.fstat(file.fileno()).st_size
    position = size
    while position > 0 and size - position < MAX_LINE:
        position = max(0, position - CHUNK)
        file.seek(position)
        block = file.read(min(CHUNK, size - position))
        if (found := block.rfind(b"\n")) >= 0:
            return position + found + 1
    return position


def _find(files: list[_Open], name: str) -> int | None:
    return next((index for index, opened in enumerate(files) if opened.name == name), None)


def _from(files: list[_Open], before: str | None) -> Iterator[tuple[_Open, int]]:
    """Each file with the place where reading backwards begins. Nothing for a file that is gone."""
    if before is None:
        index, place = 0, None
    else:
        name, place = split_cursor(before)
        found = _find(files, name)
        if found is None:
            return
        index = found
    for opened in files[index:]:
        yield opened, opened.end if place is None else min(place, opened.end)
        place = None


def _backwards(file: BinaryIO, end: int) -> Iterator[tuple[bytes | None, int]]:
    """Lines before a place that is the start of one, the last first, and where each begins. None: it is too long."""
    position, rest, is_long = end, b"", False
    while position > 0:
        size = min(max(CHUNK, len(rest)), position)
        position -= size
        file.seek(position)
        parts = (file.read(size) + rest).split(b"\n")
        if position + size == end:
            parts.pop()  # Behind the last line's end there is nothing.
        start = position + sum(len(part) + 1 for part in parts)
        for part in reversed(parts[1:]):
            start -= len(part) + 1
            yield (None if is_long else part), start
            is_long = False
        rest = parts[0] if parts else b""
        if parts and len(rest) > MAX_LINE:
            rest, is_long = b"", True
    if end:
        yield (None if is_long else rest), 0


def _forwards(opened: _Open, place: int, wanted: LogFilter) -> tuple[list[LogLine], int]:
    opened.file.seek(place)
    size = min(MAX_NEW, opened.end - place)
    block = opened.file.read(size)
    whole = block.rfind(b"\n") + 1
    if not whole and block:  # A line that is longer than a part.
        return [], _line_start(opened, place + len(block))
    lines = []
    for raw in block[:whole].split(b"\n")[:-1]:
        if (line := wanted.read(raw, _place(opened.name, place))) is not None:
            lines.append(line)
        place += len(raw) + 1
    return lines, place


def _line_start(opened: _Open, place: int) -> int:
    """The first one from there on, or the end."""
    if place == 0:
        return 0
    place -= 1  # The line's end before it, if it is one itself.
    opened.file.seek(place)
    while place < opened.end and (block := opened.file.read(CHUNK)):
        if (found := block.find(b"\n")) >= 0:
            return min(place + found + 1, opened.end)
        place += len(block)
    return opened.end
