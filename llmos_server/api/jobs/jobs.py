"""All kinds of jobs in one list."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_server.api.errors import NotFound
from llmos_server.api.jobs.source import JobSource, PausableSource
from llmos_server.api.schemas.admin_jobs import JobDetails
from llmos_server.errors import InvalidRequest

ENDED = ("done", "failed", "cancelled")


class Jobs:
    def __init__(self, sources: Sequence[JobSource] = ()) -> None:
        self._sources = sources

    async def list(self) -> list[JobDetails]:
        """Those that haven't ended first, then the newest."""
        found = [job for source in self._sources for job in await source.list()]
        return sorted(found, key=lambda job: (job.state in ENDED, -job.created, job.id))

    async def get(self, job_id: str) -> JobDetails:
        """Raises NotFound."""
        return (await self._find(job_id))[1]

    async def cancel(self, job_id: str) -> JobDetails:
        """The job, as it is then. Raises NotFound, and InvalidRequest for one that has ended."""
        source, _ = await self._find_living(job_id)
        await source.cancel(job_id)
        return await self.get(job_id)

    async def pause(self, job_id: str) -> JobDetails:
        """As cancel(). Raises InvalidRequest, too, for one that can't be paused."""
        await (await self._find_pausable(job_id)).pause(job_id)
        return await self.get(job_id)

    async def resume(self, job_id: str) -> JobDetails:
        """As pause()."""
        await (await self._find_pausable(job_id)).resume(job_id)
        return await self.get(job_id)

    async def _find_pausable(self, job_id: str) -> PausableSource:
        source, job = await self._find_living(job_id)
        if not (isinstance(source, PausableSource) and job.can_pause):
            raise InvalidRequest(
                f"The job {job_id!r} can't be paused: it is a {job.kind}.", param="job_id", code="job_cannot_pause"
            )
        return source

    async def _find_living(self, job_id: str) -> tuple[JobSource, JobDetails]:
        source, job = await self._find(job_id)
        if job.state in ENDED:
            raise InvalidRequest(
                f"The job {job_id!r} has ended: it is {job.state}.", param="job_id", code="job_has_ended"
            )
        return source, job

    async def _find(self, job_id: str) -> tuple[JobSource, JobDetails]:
        for source in self._sources:
            if (job := await source.get(job_id)) is not None:
                return source, job
        raise NotFound(
            f"There is no job {job_id[:100]!r}. GET /admin/v1/jobs lists those that run, and the last that have ended.",
            param="job_id",
            code="job_not_found",
        )
