"""Long work: /admin/v1/jobs."""

from __future__ import annotations

from llmos_tui.wire.common import Wire


class Job(Wire, frozen=True, kw_only=True):
    """state: "queued", "running", "paused", "done", "failed" or "cancelled". progress: 0 to 1, None where nobody
    knows. Times are Unix seconds."""

    id: str
    kind: str = ""
    title: str = ""
    state: str = ""
    created: float = 0.0
    started: float | None = None
    ended: float | None = None
    progress: float | None = None
    detail: str = ""
    error: str | None = None
    can_pause: bool = False


class JobDetails(Job, frozen=True, kw_only=True):
    """log: its last lines. metrics: name -> (step, value)."""

    log: list[str] = []
    metrics: dict[str, list[tuple[float, float]]] = {}


class JobList(Wire, frozen=True, kw_only=True):
    """Those that haven't ended first, then the newest."""

    data: list[Job] = []
