"""The part of the server's log that is here: it grows at both ends, up to a bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import overload

from llmos_tui.wire.logs import LogGap, LogLine, LogPage

MAX_LINES = 100_000
DROP = 10_000
"""So many of the oldest go at a time: dropping each by itself would move all others each time."""


class LogLines:
    """Lines are appended to one list, of which views are shown: nothing is copied for each line that comes."""

    def __init__(self) -> None:
        self._lines: list[LogLine] = []
        self.before: str | None = None
        """Where older ones are; None: there are none."""

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def view(self) -> Sequence[LogLine]:
        """As it is now, whatever comes later."""
        return _View(self._lines, len(self._lines))

    @property
    def last_cursor(self) -> str | None:
        """The place before the newest line."""
        return next((line.cursor for line in reversed(self._lines) if line.cursor), None)

    def start(self, page: LogPage) -> None:
        self._lines = list(page.data)
        self.before = page.before

    def add(self, news: LogLine | LogGap) -> None:
        """A newer one; the one that is the newest already is passed over."""
        if isinstance(news, LogGap):
            news = LogLine(event=f"... {news.reason}")
        elif self._lines and self._lines[-1].cursor == news.cursor:
            return
        if len(self._lines) >= MAX_LINES:
            self._lines = self._lines[DROP:]
            self.before = next((line.cursor for line in self._lines if line.cursor), None)
        self._lines.append(news)

    def add_older(self, page: LogPage) -> int:
        """How many there was room for: the newest of them."""
        room = max(0, MAX_LINES - len(self._lines))
        older = page.data[-room:] if room else []
        self._lines = [*older, *self._lines]
        self.before = page.before if len(older) == len(page.data) else None
        return len(older)

    def find(self, text: str, start: int, step: int) -> int | None:
        """The number of the next line from start on that has this text, upwards or downwards, round the end; start
        itself comes last."""
        wanted, count = text.casefold(), len(self._lines)
        for distance in range(1, count + 1):
            place = (start + step * distance) % count
            if wanted in line_text(self._lines[place]).casefold():
                return place
        return None


class _View(Sequence[LogLine]):
    """The first lines of a list that only grows."""

    def __init__(self, lines: list[LogLine], count: int) -> None:
        self._lines, self._count = lines, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> LogLine: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[LogLine]: ...
    def __getitem__(self, place: int | slice) -> LogLine | Sequence[LogLine]:
        if isinstance(place, slice):
            return self._lines[: self._count][place]
        if not -self._count <= place < self._count:
            raise IndexError(place)
        return self._lines[place if place >= 0 else place + self._count]

    def __iter__(self) -> Iterator[LogLine]:
        return islice(self._lines, self._count)


def fields_text(line: LogLine) -> str:
    """model=smollm2:135m seconds=1.2"""
    return " ".join(f"{name}={value}" for name, value in line.fields.items())


def line_text(line: LogLine) -> str:
    """What is searched: what is shown, but for the time."""
    return f"{line.level} {line.event} {fields_text(line)}"
