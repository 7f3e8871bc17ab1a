"""Jobs that outlive requests: tuning, batches, evaluations."""

from __future__ import annotations

from datetime import UTC, datetime

from llmos_server.api.schemas.admin_jobs import JobDetails, JobState
from llmos_server.job_contracts import ENDED, Job, JobEvent, JobStatus
from llmos_server.store.job_events import JobEventRepository
from llmos_server.store.jobs import JobRepository
from llmos_server.store.owners import EVERYBODY

MAX_LIVING = 200
MAX_ENDED = 50
MAX_LOG = 200
MAX_POINTS = 2000
"""Events with figures that are read for one job's plots, the last ones."""

_LIVING: tuple[JobStatus, ...] = ("queued", "running", "paused")
_STATES: dict[JobStatus, JobState] = {
    "queued": "queued",
    "running": "running",
    "paused": "paused",
    "succeeded": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}


class StoredJobs:
    """Implements PausableSource."""

    def __init__(self, jobs: JobRepository, events: JobEventRepository) -> None:
        self._jobs = jobs
        self._events = events

    async def list(self) -> list[JobDetails]:
        living = await self._jobs.page(EVERYBODY, statuses=_LIVING, limit=MAX_LIVING)
        ended = await self._jobs.page(EVERYBODY, statuses=ENDED, limit=MAX_ENDED)
        return [_describe(job) for job in (*living.jobs, *ended.jobs)]

    async def get(self, job_id: str) -> JobDetails | None:
        job = await self._jobs.get(EVERYBODY, job_id)
        if job is None:
            return None
        told = await self._events.list(EVERYBODY, job_id, type="message", order="desc", limit=MAX_LOG)
        figures = await self._events.list(EVERYBODY, job_id, type="metrics", order="desc", limit=MAX_POINTS)
        return _describe(job, [_line(event) for event in reversed(told)], _curves(figures[::-1]))

    async def cancel(self, job_id: str) -> None:
        await self._jobs.wish(EVERYBODY, job_id, "cancel")

    async def pause(self, job_id: str) -> None:
        await self._jobs.wish(EVERYBODY, job_id, "pause")

    async def resume(self, job_id: str) -> None:
        await self._jobs.resume(EVERYBODY, job_id)


def _describe(
    job: Job, log: list[str] | None = None, metrics: dict[str, list[tuple[float, float]]] | None = None
) -> JobDetails:
    asked = {"pause": "asked to pause", "cancel": "asked to end", "": job.detail}
    return JobDetails(
        id=job.id,
        kind=job.kind,
        title=job.title,
        state=_STATES[job.status],
        created=job.created / 1000,
        started=None if job.started is None else job.started / 1000,
        ended=None if job.ended is None else job.ended / 1000,
        progress=job.progress,
        detail=asked[job.wish],
        error=None if job.error is None else job.error.message,
        can_pause=job.status not in ENDED,
        log=log or [],
        metrics=metrics or {},
    )


def _line(event: JobEvent) -> str:
    moment = datetime.fromtimestamp(event.created / 1000, UTC).strftime("%H:%M:%S")
    return f"{moment} {event.message}" if event.level == "info" else f"{moment} {event.level}: {event.message}"


def _curves(events: list[JobEvent]) -> dict[str, list[tuple[float, float]]]:
    """By name. A step that was done again, after a crash, counts as it was done last."""
    points: dict[str, dict[float, float]] = {}
    for event in events:
        step = event.data.get("step")
        for name, value in event.data.items():
            if name != "step" and isinstance(step, int | float) and isinstance(value, int | float):
                points.setdefault(name, {})[step] = value
    return {name: sorted(curve.items()) for name, curve in points.items()}
