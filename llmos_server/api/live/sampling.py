"""What watchers watch is computed once for all of them, and not at all while nobody does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

SHARED_SECONDS = 0.04
"""How old what a watcher is told may be."""


class Sampler:
    """Takes a sample when somebody asks for one. Watchers who ask meanwhile, or soon after, get the same."""

    def __init__(self, take: Callable[[], Awaitable[bytes]], clock: Callable[[], float] = time.monotonic) -> None:
        self.num_taken = 0
        self._take = take
        self._clock = clock
        self._taken_at = 0.0
        self._task: asyncio.Task[bytes] | None = None

    async def fresh(self) -> bytes:
        """Of now, for one alone."""
        self.num_taken += 1
        return await self._take()

    async def sample(self) -> bytes:
        """Raises what taking it raises."""
        if self._task is None or (self._task.done() and self._clock() - self._taken_at >= SHARED_SECONDS):
            self._task = asyncio.create_task(self._sample())
        return await asyncio.shield(self._task)

    async def _sample(self) -> bytes:
        try:
            return await self.fresh()
        finally:
            self._taken_at = self._clock()
