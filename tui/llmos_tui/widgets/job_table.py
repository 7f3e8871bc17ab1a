"""All jobs as a list."""

from __future__ import annotations

from llmos_tui import words
from llmos_tui.widgets.rows import Column, Look, Rows
from llmos_tui.widgets.usage_bar import bar
from llmos_tui.wire.jobs import Job

LOOKS: dict[str, Look] = {"running": "good", "queued": "warn", "failed": "bad", "cancelled": "muted"}
BAR_CELLS = 8


def progress(job: Job) -> str:
    """A bar and a share; nothing where nobody knows."""
    if job.progress is None:
        return ""
    return f"{bar(job.progress, BAR_CELLS)} {100 * job.progress:3.0f} %"


def duration(job: Job, now: float) -> str:
    """How long it has run, or ran; how long it waits."""
    return words.age((job.ended or now) - (job.started or job.created))


class JobTable(Rows[Job]):
    """now: Unix seconds of the last news, so that ages are true."""

    def __init__(self) -> None:
        self.now = 0.0
        columns: tuple[Column[Job], ...] = (
            Column("KIND", lambda job: job.kind, 8),
            Column("STATE", lambda job: job.state, 9, look=lambda job: LOOKS.get(job.state, "plain")),
            Column("TITLE", lambda job: job.title, 16, share=2),
            Column("PROGRESS", progress, BAR_CELLS + 6),
            Column("TOOK", lambda job: duration(job, self.now), 6, is_right=True),
            Column("DETAIL", lambda job: job.error or job.detail, 12, share=2),
            Column("MADE (UTC)", lambda job: words.moment(job.created), 19, drop=1),
            Column("ID", lambda job: job.id, 14, share=1, drop=2),
        )
        super().__init__(columns, lambda job: job.id, "The server works on nothing beside answers.", id="jobs")

    def show_jobs(self, jobs: list[Job], now: float) -> None:
        self.now = now
        self.show(jobs)
        if any(job.ended is None for job in jobs):
            self.refresh()
