"""Jobs for whoever wants them done: what is added or asked for is taken notice of at once."""

from __future__ import annotations

from collections.abc import Callable

from llmos_server.job_contracts import Job, Wish
from llmos_server.store.jobs import JobRepository
from llmos_server.store.owners import Owner


class JobQueue:
    def __init__(
        self,
        jobs: JobRepository,
        wake: Callable[[], None] = lambda: None,
        stop_soon: Callable[[], None] = lambda: None,
    ) -> None:
        """wake: there is something to do for this server's supervisor. stop_soon: its jobs are to end."""
        self.rows = jobs
        self.stop_soon = stop_soon
        self._wake = wake

    async def add(self, job: Job) -> None:
        """Raises Forbidden when its owner has too many that haven't ended."""
        await self.rows.add(job)
        self._wake()

    async def wish(self, owner: Owner, job_id: str, wish: Wish) -> Job | None:
        """As it is then; see JobRepository.wish."""
        found = await self.rows.wish(owner, job_id, wish)
        self._wake()
        return found

    async def resume(self, owner: Owner, job_id: str) -> Job | None:
        """As it is then; see JobRepository.resume."""
        found = await self.rows.resume(owner, job_id)
        self._wake()
        return found
