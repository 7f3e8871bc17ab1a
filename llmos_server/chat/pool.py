"""Long rendering and tokenising, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from llmos_server.errors import UnsupportedModel

P = ParamSpec("P")
T = TypeVar("T")


class TextPool:
    """Small inputs run at once, where a thread costs more than it gives; large ones in at most `max_workers` threads.

    The tokenizers library releases the GIL, so the event loop goes on meanwhile.
    """

    def __init__(self, max_workers: int = 2, inline_below_chars: int = 4096) -> None:
        self._inline_below_chars = inline_below_chars
        self._executor = ThreadPoolExecutor(max_workers, thread_name_prefix="llmos-text")

    async def run(self, size_hint: int, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """size_hint: characters of text that fn works on. Raises UnsupportedModel where a tokenizer breaks down."""
        if size_hint < self._inline_below_chars:
            return _without_panics(lambda: fn(*args, **kwargs))
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _without_panics, lambda: fn(*args, **kwargs))

    def close(self) -> None:
        """Waits for what is running; what has not begun is cancelled."""
        self._executor.shutdown(wait=True, cancel_futures=True)


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
