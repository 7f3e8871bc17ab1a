"""Between rows and jobs, and what becomes of a job whose run is over."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select

from llmos_server.job_contracts import Job, JobError, JobEvent, JobKind
from llmos_server.store.job_tables import JobEventRow, JobRow

COLUMNS = [getattr(JobRow, name) for name in Job.__struct_fields__]
JOBS: Any = select(*COLUMNS)
EVENTS: Any = select(*(getattr(JobEventRow, name) for name in JobEvent.__struct_fields__))

KEEPS_PARTS: tuple[JobKind, ...] = ("batch",)
"""Kinds that make something of what they have when they are cancelled: one that was begun is begun once more for it."""

FIRST_DELAY = 1_000
MAX_DELAY = 300_000
"""Milliseconds before a job that was lost is begun again, doubling with every attempt."""

IDLE: dict[str, Any] = {"wish": "", "runner": None, "lease_until": None}
"""Of a job that nobody runs."""


def to_job(row: Any) -> Job:
    return msgspec.convert(dict(row._mapping), Job)


def to_event(row: Any) -> JobEvent:
    return JobEvent(**row._mapping)


def as_values(job: Job) -> dict[str, Any]:
    """Of a new row."""
    error = None if job.error is None else msgspec.to_builtins(job.error)
    return {**msgspec.structs.asdict(job), "error": error, "not_before": 0, "num_events": 0}


def after_loss(job: Job, reason: str, max_attempts: int | None, now: int) -> dict[str, Any]:
    """Of a run that ended without a result: what was wished is done, else it is tried again, so many times.

    max_attempts: None for a run that was stopped from outside."""
    still = {"wish": "cancel"} if job.wish == "cancel" and job.kind in KEEPS_PARTS else {}
    if job.wish == "cancel" and not (still and max_attempts is not None and job.attempts < max_attempts):
        return {**IDLE, "status": "cancelled", "ended": now}
    if job.wish == "pause":
        return {**IDLE, "status": "paused"}
    again = {**IDLE, "status": "queued", "detail": "", **still}
    if max_attempts is None:
        return {**again, "not_before": now, "attempts": max(job.attempts - 1, 0)}
    if job.attempts >= max_attempts:
        message = f"It was begun {job.attempts} times without coming forward; the last time: {reason}"
        return failure(JobError(code="job_lost", message=message), now)
    return {**again, "not_before": now + min(FIRST_DELAY * 2 ** min(max(job.attempts - 1, 0), 16), MAX_DELAY)}


def failure(error: JobError, now: int) -> dict[str, Any]:
    return {**IDLE, "status": "failed", "ended": now, "error": msgspec.to_builtins(error)}
