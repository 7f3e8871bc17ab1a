"""Long rendering and tokenising, off the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from llmos_server.errors import TextBusy, UnsupportedModel

P = ParamSpec("P")
T = TypeVar("T")

MAX_WAITING = 1024
"""Texts that wait for a thread, of all requests together."""


class TextPool:
    """Small inputs run at once, where a thread costs more than it gives; large ones in at most `max_workers` threads,
    first come, first served. Whoever waits is cancelled, and his text dropped from the queue, when his client leaves;
    what has begun runs to its end.

    The tokenizers library releases the GIL, so the event loop goes on meanwhile.
    """

    def __init__(self, max_workers: int = 2, inline_below_chars: int = 4096, max_waiting: int = MAX_WAITING) -> None:
        self._inline_below_chars = inline_below_chars
        self._max_workers = max_workers
        self._max_inside = max_workers + max_waiting
        self.num_inside = 0
        """Texts that wait for a thread or are worked on."""
        self._mean_seconds = 0.1
        self._executor = ThreadPoolExecutor(max_workers, thread_name_prefix="llmos-text")

    async def run(self, size_hint: int, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """size_hint: characters of text that fn works on. Raises UnsupportedModel where a tokenizer breaks down, and
        TextBusy when too many texts wait."""
        if size_hint < self._inline_below_chars:
            return _without_panics(lambda: fn(*args, **kwargs))
        if self.num_inside >= self._max_inside:
            raise TextBusy(
                f"{self.num_inside} long texts wait to be tokenised already. Send this one again in a moment.",
                retry_after=self.num_inside * self._mean_seconds / self._max_workers,
            )
        loop = asyncio.get_running_loop()
        self.num_inside += 1
        try:  # A cancelled wait cancels what waits in the executor's queue, too.
            value, seconds = await loop.run_in_executor(self._executor, _timed, lambda: fn(*args, **kwargs))
        finally:
            self.num_inside -= 1
        self._mean_seconds += (seconds - self._mean_seconds) / 8
        return value

    def close(self) -> None:
        """Waits for what is running; what has not begun is cancelled."""
        self._executor.shutdown(wait=True, cancel_futures=True)


def _timed(fn: Callable[[], T]) -> tuple[T, float]:
    started = time.perf_counter()
    return _without_panics(fn), time.perf_counter() - started


def _without_panics(fn: Callable[[], T]) -> T:
    """The tokenizers library panics, with a BaseException, over a damaged table that it read without a complaint. Its
    words may hold the text."""
    try:
        return fn()
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
    raise UnsupportedModel(
        "The model's tokenizer broke down at this text: its files are damaged. Pull the model again, or another one."
    )
