"""Pulls of models as jobs."""

from __future__ import annotations

from llmos_server.api.pulls import Pull, Pulls
from llmos_server.api.schemas.admin_jobs import JobDetails


class PullJobs:
    """Implements JobSource."""

    def __init__(self, pulls: Pulls) -> None:
        self._pulls = pulls

    async def list(self) -> list[JobDetails]:
        return [_describe(pull) for pull in self._pulls.list()]

    async def get(self, job_id: str) -> JobDetails | None:
        pull = self._pulls.find(job_id)
        return None if pull is None else _describe(pull)

    async def cancel(self, job_id: str) -> None:
        if (pull := self._pulls.find(job_id)) is not None:
            pull.cancel()


def _describe(pull: Pull) -> JobDetails:
    total = pull.total
    return JobDetails(
        id=pull.id,
        kind="pull",
        title=pull.name,
        state=pull.state,
        created=pull.created,
        started=pull.created,
        ended=pull.ended,
        progress=1.0 if pull.state == "done" else min(pull.done / total, 1.0) if total else None,
        detail=pull.label,
        error=pull.error,
        log=list(pull.log),
        metrics={"bytes": list(pull.points)} if pull.points else {},
    )
