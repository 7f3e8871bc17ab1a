"""The last lines of a log that goes to a terminal or a pipe, kept in memory."""

from __future__ import annotations

import logging
import secrets
from collections import deque

from llmos_server.logbook.lines import MAX_LINE, LogFilter, LogLine, LogPage, NewLines, split_cursor

MAX_LINES = 10_000
MAX_BYTES = 4 * 2**20
MAX_NEW_LINES = 1000


class RingLog(logging.Handler):
    """A LogBook. A cursor is this process's name and the number of lines before the place.

    The handler's formatter has to write JSON lines."""

    def __init__(self, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES) -> None:
        super().__init__()
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._name = secrets.token_hex(6)
        self._lines: deque[bytes] = deque()
        self._num_bytes = 0
        self._num_gone = 0

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode(errors="backslashreplace")
        except Exception:
            self.handleError(record)
            return
        self._lines.append(line)
        self._num_bytes += len(line)
        while len(self._lines) > self._max_lines or self._num_bytes > self._max_bytes:
            self._num_bytes -= len(self._lines.popleft())
            self._num_gone += 1

    def page(self, wanted: LogFilter, before: str | None, limit: int) -> LogPage:
        kept, first = self._copy()
        end = first + len(kept)
        start = end if before is None else self._number(before, end)
        lines: list[LogLine] = []
        place = min(start, end) - first
        while place > 0 and len(lines) < limit:
            place -= 1
            if (line := self._read(wanted, kept[place], first + place)) is not None:
                lines.append(line)
        older = self._place(first + place) if place > 0 else None
        return LogPage(lines=lines[::-1], before=older, end=self._place(end))

    def since(self, wanted: LogFilter, cursor: str) -> NewLines:
        kept, first = self._copy()
        end = first + len(kept)
        number = self._number(cursor, -1)
        start = min(max(number, first), end)
        stop = min(start + MAX_NEW_LINES, end)
        found = (self._read(wanted, kept[place - first], place) for place in range(start, stop))
        lines = [line for line in found if line is not None]
        return NewLines(lines=lines, cursor=self._place(stop), is_gap=number < first)

    def _copy(self) -> tuple[list[bytes], int]:
        """With the number of the first one."""
        self.acquire()
        try:
            return list(self._lines), self._num_gone
        finally:
            self.release()

    def _read(self, wanted: LogFilter, line: bytes, number: int) -> LogLine | None:
        return wanted.read(line if len(line) <= MAX_LINE else None, self._place(number))

    def _place(self, number: int) -> str:
        return f"{self._name}-{number}"

    def _number(self, cursor: str, other: int) -> int:
        """other: for a cursor of another process."""
        name, number = split_cursor(cursor)
        return number if name == self._name else other
