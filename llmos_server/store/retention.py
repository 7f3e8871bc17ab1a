"""What has become old goes by itself, a few rows at a time."""

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
        *,
        what: str = "usage",
        batch_rows: int = BATCH_ROWS,
        seconds_between: float = SECONDS_BETWEEN,
    ) -> None:
        """remove: at most so many rows of before that Unix millisecond; how many went. days: 0 keeps all. what: for the
        log."""
        self._remove = remove
        self._days = days
        self._clock = clock
        self._what = what
        self._batch_rows = batch_rows
        self._seconds_between = seconds_between
        self._next = 0.0
        self._num_removed = 0

    async def take_turn(self) -> None:
        """One batch, until none is left; then again after a while. Raises StoreUnavailable."""
        now = self._clock()
        if not self._days or now < self._next:
            return
        removed = await self._remove(int(now * 1000) - self._days * DAY_MILLISECONDS, self._batch_rows)
        self._num_removed += removed
        if not removed:
            self._next = now + self._seconds_between
            if self._num_removed:
                log.info("old rows removed", what=self._what, rows=self._num_removed, days=self._days)
            self._num_removed = 0
