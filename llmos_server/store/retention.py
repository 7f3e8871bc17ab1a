"""Old rows of the usage ledger: removed when they are older than the operator keeps them, a few at a time."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import structlog

from llmos_server.store.usage import DAY_MILLISECONDS

log = structlog.get_logger(__name__)

BATCH_ROWS = 500
"""One write: others wait for it some milliseconds."""
SECONDS_BETWEEN = 86_400.0


class Retention:
    """For the ledger's loop, which gives it a turn after each of its own writes."""

    def __init__(
        self,
        remove: Callable[[int, int], Awaitable[int]],
        days: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """remove: at most so many rows booked before that Unix millisecond; how many went. days: 0 keeps all."""
        self._remove = remove
        self._days = days
        self._clock = clock
        self._next = 0.0
        self._num_removed = 0

    async def take_turn(self) -> None:
        """One batch, until none is left; then again in a day. Raises StoreUnavailable."""
        now = self._clock()
        if not self._days or now < self._next:
            return
        removed = await self._remove(int(now * 1000) - self._days * DAY_MILLISECONDS, BATCH_ROWS)
        self._num_removed += removed
        if removed < BATCH_ROWS:
            self._next = now + SECONDS_BETWEEN
            if self._num_removed:
                log.info("old usage rows removed", rows=self._num_removed, usage_days=self._days)
            self._num_removed = 0
