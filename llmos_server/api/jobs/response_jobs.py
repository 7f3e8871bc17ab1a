"""Responses that are made in the background, as jobs."""

from __future__ import annotations

from llmos_server.api.background import BackgroundJobs
from llmos_server.api.schemas.admin_jobs import JobDetails


class ResponseJobs:
    """Implements JobSource."""

    def __init__(self, background: BackgroundJobs) -> None:
        self._background = background

    async def list(self) -> list[JobDetails]:
        return self._background.list()

    async def get(self, job_id: str) -> JobDetails | None:
        return next((job for job in self._background.list() if job.id == job_id), None)

    async def cancel(self, job_id: str) -> None:
        await self._background.cancel_by_id(job_id)
