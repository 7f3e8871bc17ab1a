"""Between requests and the usage table: rows wait in memory, at most a second, and are written in batches.

Nothing here fails or slows a request. While the database can't be written (locked, full, away), rows stay in a bounded
buffer and are tried again; what doesn't fit any more is counted and logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice

import structlog

from llmos_server.errors import StoreUnavailable
from llmos_server.key_contracts import UsageRow

log = structlog.get_logger(__name__)

BATCH_ROWS = 500
FLUSH_SECONDS = 1.0
TOUCH_SECONDS = 60
"""How fine the keys' last_used is."""
MAX_ROWS = 100_000
"""About 50 MB of rows that wait for a database that is away."""
MAX_RETRY_SECONDS = 30.0
TELL_SECONDS = 60.0
"""Between two lines in the log about a database that goes on refusing."""
STOP_SECONDS = 10.0
"""How long the end of the server waits for the last rows."""


class Ledger:
    """Start and stop it in the event loop that books."""

    def __init__(
        self,
        write: Callable[[Sequence[UsageRow]], Awaitable[None]],
        touch: Callable[[Mapping[str, int]], Awaitable[None]],
        max_rows: int = MAX_ROWS,
        tidy: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """write: all rows or none, each once however often it comes. touch: key id -> Unix seconds of its last use.
        tidy: has a turn whenever nothing waits any more. All raise StoreUnavailable."""
        self.num_written = 0
        self.num_dropped = 0
        self._write = write
        self._touch = touch
        self._max_rows = max_rows
        self._tidy = tidy
        self._rows: deque[UsageRow] = deque()
        self._uses: dict[str, int] = {}
        self._touched: dict[str, int] = {}
        self._wake = asyncio.Event()
        self.is_failing = False
        """The database refused the last write."""
        self._told = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def num_pending(self) -> int:
        return len(self._rows)

    def book(self, row: UsageRow) -> None:
        if len(self._rows) >= self._max_rows:
            if not self.num_dropped:
                log.error("usage ledger full: rows are lost", max_rows=self._max_rows)
            self.num_dropped += 1
            return
        self._rows.append(row)
        if len(self._rows) >= BATCH_ROWS:
            self._wake.set()

    def note_use(self, key_id: str) -> None:
        self._uses[key_id] = int(time.time())

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what waits, or say how much was lost."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await self.flush()
        if self._rows:
            log.error("usage rows lost: the database can't be written", rows=len(self._rows))

    async def flush(self) -> bool:
        """Write all that waits now; False when the database refused, and the rest waits on."""
        try:
            await self._flush_rows()
            await self._flush_uses()
            if self._tidy is not None:
                await self._tidy()
        except StoreUnavailable as error:
            self._tell_failure(error)
            return False
        if self.is_failing:
            log.info("usage ledger goes on", dropped=self.num_dropped)
        self.is_failing = False
        return True

    def _tell_failure(self, error: StoreUnavailable) -> None:
        """Now and then while it lasts: somebody has to do something."""
        now = time.monotonic()
        if not self.is_failing or now - self._told >= TELL_SECONDS:
            self._told = now
            log.warning(
                "usage ledger waits for the database; requests go on",
                error=str(error),
                rows=len(self._rows),
                room_for=self._max_rows - len(self._rows),
                dropped=self.num_dropped,
            )
        self.is_failing = True

    async def _flush_rows(self) -> None:
        size = BATCH_ROWS
        while self._rows:
            batch = list(islice(self._rows, size))
            try:
                await self._write(batch)
                self.num_written += len(batch)
            except StoreUnavailable:
                raise
            except Exception as error:  # A row is to blame. The others must not wait behind it for ever.
                if len(batch) > 1:
                    size = 1
                    continue
                log.error("usage row lost", request_id=batch[0].request_id, error=type(error).__name__)
                self.num_dropped += 1
                size = BATCH_ROWS
            for _ in batch:
                self._rows.popleft()

    async def _flush_uses(self) -> None:
        due = {key: at for key, at in self._uses.items() if at - self._touched.get(key, 0) >= TOUCH_SECONDS}
        if due:
            await self._touch(due)
            self._touched.update(due)
            for key in due:
                self._uses.pop(key, None)

    async def _run(self) -> None:
        delay = 0.0
        while True:
            if delay:
                await asyncio.sleep(delay)
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FLUSH_SECONDS):
                        await self._wake.wait()
            self._wake.clear()
            delay = 0.0 if await self.flush() else min(max(delay * 2, FLUSH_SECONDS), MAX_RETRY_SECONDS)
