"""Files whose time is over go, and content that nothing leads to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from llmos_server.files.folder import FileFolder

BATCH = 100
SECONDS_BETWEEN = 600.0
DAY_SECONDS = 86_400

log = structlog.get_logger(__name__)


class FileRows(Protocol):
    """What the database knows of files."""

    async def remove_expired(self, limit: int) -> list[str]: ...

    async def remove_before(self, created: int, limit: int) -> list[str]:
        """created: Unix milliseconds. The ids of those that went."""
        ...

    async def all_ids(self) -> set[str]: ...


class FileSweeping:
    """For the ledger's loop, as the rest of tidying."""

    def __init__(
        self, rows: FileRows, folder: FileFolder, days: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        """days: how long any file is kept; 0: until its own time is over."""
        self._rows = rows
        self._folder = folder
        self._days = days
        self._clock = clock
        self._next = 0.0

    async def take_turn(self) -> None:
        """Raises StoreUnavailable."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + SECONDS_BETWEEN
        while gone := await self._remove_some(now):
            for file_id in gone:
                await self._folder.remove(file_id)
            log.info("files removed: their time was over", files=len(gone))
        known = await self._rows.all_ids()
        for path in await asyncio.to_thread(self._folder.leftovers, known, now):
            await asyncio.to_thread(path.unlink, missing_ok=True)
            log.info("content without a file removed", name=path.name)

    async def _remove_some(self, now: float) -> list[str]:
        gone = await self._rows.remove_expired(BATCH)
        if not gone and self._days:
            gone = await self._rows.remove_before(int((now - self._days * DAY_SECONDS) * 1000), BATCH)
        return gone
