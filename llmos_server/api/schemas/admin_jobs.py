"""Wire structs of /admin/v1/jobs: what any kind of job tells about itself, so that one list shows all kinds."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

JobState = Literal["queued", "running", "paused", "done", "failed", "cancelled"]


class JobInfo(Struct, kw_only=True):
    """Times are Unix seconds. Nothing of what users wrote is in it."""

    id: str
    kind: str
    title: str
    """For people: which model, whose."""
    state: JobState
    created: float
    started: float | None = None
    ended: float | None = None
    progress: float | None = None
    """0 to 1; None where nobody knows."""
    detail: str = ""
    """What it does just now."""
    error: str | None = None
    can_pause: bool = False
    """It can be paused, or resumed when it is."""


class JobDetails(JobInfo, kw_only=True):
    log: list[str] = field(default_factory=list)
    """Its last lines."""
    metrics: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Name -> (step, value), to be plotted."""


class JobList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[JobInfo]
