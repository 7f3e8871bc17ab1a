"""A kind of jobs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from llmos_server.api.schemas.admin_jobs import JobDetails


class JobSource(Protocol):
    """All jobs of a kind that this server knows: those that run, and the last that have ended."""

    async def list(self) -> list[JobDetails]: ...

    async def get(self, job_id: str) -> JobDetails | None:
        """Ids are unique among all kinds."""
        ...

    async def cancel(self, job_id: str) -> None:
        """Of one that get() finds and that hasn't ended; it may end a little later, or have ended meanwhile."""
        ...


@runtime_checkable
class PausableSource(JobSource, Protocol):
    """Of jobs that say can_pause."""

    async def pause(self, job_id: str) -> None:
        """As cancel()."""
        ...

    async def resume(self, job_id: str) -> None:
        """Of one that was paused, or asked to."""
        ...
