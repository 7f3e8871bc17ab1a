"""What a pull tells the person who waits: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as RichBars

PLAIN_SECONDS = 3.0
"""Between two plain lines about one transfer."""


class Track(Protocol):
    """One running transfer."""

    def update(self, done: int) -> None:
        """Bytes done so far; may jump, never needs to reach the total."""
        ...


class Progress(Protocol):
    """Where a pull reports to."""

    def say(self, text: str) -> None:
        """One line of plain words."""
        ...

    def check(self) -> None:
        """Called now and then by what takes long. Raises PullCancelled when the pull is to end, as the others may."""
        ...

    def track(self, label: str, total: int | None) -> AbstractContextManager[Track]:
        """A transfer of `total` bytes; None when the size isn't known."""
        ...


def create_progress(stream: TextIO | None = None) -> Progress:
    """Bars when the stream (default: stderr) is a terminal, plain lines otherwise."""
    stream = sys.stderr if stream is None else stream
    return TerminalProgress(stream) if stream.isatty() else PlainProgress(stream)


def format_bytes(count: float) -> str:
    """Decimal units, as download pages show them: "98.4 MB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


class QuietProgress:
    """Tells nobody."""

    def say(self, text: str) -> None:
        """Drop it."""

    def check(self) -> None:
        """Go on."""

    def update(self, done: int) -> None:
        """Drop it."""

    @contextmanager
    def track(self, label: str, total: int | None) -> Iterator[Track]:
        """A transfer that shows nothing."""
        yield self


class PlainProgress:
    """Lines for logs and pipes: one at the start with the size, then one every few seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock

    def say(self, text: str) -> None:
        """Print one line."""
        print(text, file=self._stream, flush=True)

    def check(self) -> None:
        """Go on: Ctrl-C ends it."""

    @contextmanager
    def track(self, label: str, total: int | None) -> Iterator[Track]:
        """Print the size, then how far it is."""
        self.say(f"{label} ({format_bytes(total) if total else 'size not known'})")
        yield _PlainTrack(self, label, total, self._clock)


class _PlainTrack:
    def __init__(self, progress: PlainProgress, label: str, total: int | None, clock: Callable[[], float]) -> None:
        self._progress, self._label, self._total, self._clock = progress, label, total, clock
        self._told = clock()

    def update(self, done: int) -> None:
        if self._clock() - self._told < PLAIN_SECONDS:
            return
        self._told = self._clock()
        percent = f" ({min(done * 100 // self._total, 100)} %)" if self._total else ""
        self._progress.say(f"{self._label}: {format_bytes(done)}{percent}")


class TerminalProgress:
    """rich bars with size, speed and time left."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream)

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False, highlight=False)

    def check(self) -> None:
        """Go on: Ctrl-C ends it."""

    @contextmanager
    def track(self, label: str, total: int | None) -> Iterator[Track]:
        """Show a bar until the transfer ends."""
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
        with RichBars(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=self._console) as bars:
            yield _TerminalTrack(bars, label, total)


class _TerminalTrack:
    def __init__(self, bars: RichBars, label: str, total: int | None) -> None:
        self._bars = bars
        self._task = bars.add_task(label, total=total)

    def update(self, done: int) -> None:
        self._bars.update(self._task, completed=done)
