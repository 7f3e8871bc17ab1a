"""Jobs whose time is over go, with their folders, and folders that no job leads to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from llmos_server.files.job_folders import JobFolders
from llmos_server.store.jobs import JobRepository

BATCH = 100
SECONDS_BETWEEN = 600.0
DAY_SECONDS = 86_400
LEFTOVER_SECONDS = 3600.0
"""A folder without a job stays so long: its row may be on its way."""

log = structlog.get_logger(__name__)


class JobSweeping:
    """For the ledger's loop, as the rest of tidying."""

    def __init__(
        self, jobs: JobRepository, folders: JobFolders, days: int, clock: Callable[[], float] = time.time
    ) -> None:
        """days: how long a job stays after its end; 0: for ever."""
        self._jobs = jobs
        self._folders = folders
        self._days = days
        self._clock = clock
        self._next = 0.0

    async def take_turn(self) -> None:
        """Raises StoreUnavailable."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + SECONDS_BETWEEN
        before = int((now - self._days * DAY_SECONDS) * 1000)
        while self._days and (gone := await self._jobs.remove_before(before, BATCH)):
            for job_id in gone:
                await asyncio.to_thread(self._folders.remove, job_id)
            log.info("jobs removed: they ended long ago", jobs=len(gone))
        leftovers = await asyncio.to_thread(self._folders.unchanged_since, now - LEFTOVER_SECONDS)
        for job_id in sorted(leftovers - await self._jobs.all_ids()):
            await asyncio.to_thread(self._folders.remove, job_id)
            log.info("a folder without a job removed", job=job_id)
