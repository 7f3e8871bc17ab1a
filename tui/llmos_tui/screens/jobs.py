"""Long work: pulls, responses in the background, and what other kinds the server has."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.worker import WorkType

from llmos_tui import words
from llmos_tui.calls.jobs import cancel_job, follow_job, follow_jobs, pause_job, resume_job
from llmos_tui.calls.live import get_overview
from llmos_tui.feeds import Feed
from llmos_tui.messages import JobArrived, JobsArrived
from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.dialog import ConfirmScreen
from llmos_tui.screens.record import RecordScreen
from llmos_tui.widgets.job_panel import JobPanel, label
from llmos_tui.widgets.job_table import JobTable
from llmos_tui.widgets.rows import Rows
from llmos_tui.wire.jobs import Job, JobDetails

ENDED = ("done", "failed", "cancelled")


class JobsScreen(LLMOSScreen):
    """The list, and below it the job with the cursor, live."""

    DEFAULT_CSS = """
    JobsScreen.-tall JobPanel { height: 50%; }
    """
    BINDING_GROUP_TITLE = "Jobs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "Details", tooltip="All about this job", id="jobs.inspect"),
        Binding("x,delete", "cancel", "Cancel", key_display="x", tooltip="End this job; asks first", id="jobs.cancel"),
        Binding("p", "pause", "Pause", tooltip="Pause this job, or have it go on", id="jobs.pause"),
    ]

    def __init__(self, place_name: str = "jobs") -> None:
        super().__init__(place_name)
        self._followed: str | None = None
        self._job: JobDetails | None = None
        self._ahead_seconds = 0.0

    def compose_body(self) -> ComposeResult:
        yield JobTable()
        yield JobPanel()

    @property
    def _current(self) -> Job | None:
        tables = list(self.query(JobTable))
        return tables[0].current if tables else None

    def feeds(self) -> Iterable[Feed]:
        interval = self.llmos.interval
        yield Feed(partial(follow_jobs, interval=interval), JobsArrived)
        if self._followed is not None:
            yield Feed(partial(follow_job, id=self._followed, interval=interval), JobArrived)

    def came_online(self) -> None:
        work: WorkType[None] = self._compare_clocks
        self.run_worker(work)

    async def _compare_clocks(self) -> None:
        overview = await self.ask(get_overview(self.client))
        if overview is not None:
            self._ahead_seconds = overview.time - time.time()

    def _now(self) -> float:
        """By the server's clock: a wrong one here shows no wrong durations."""
        return self.llmos.clock() if self.llmos.clock else time.time() + self._ahead_seconds

    def on_jobs_arrived(self, message: JobsArrived) -> None:
        self.query_one(JobTable).show_jobs(message.jobs.data, self._now())
        self._follow_current()
        self.refresh_actions()

    def on_job_arrived(self, message: JobArrived) -> None:
        if message.job.id == self._followed:
            self._job = message.job
            self.query_one(JobPanel).show(message.job)

    def on_rows_moved(self, message: Rows.Moved) -> None:
        self._follow_current()
        self.refresh_actions()

    def _follow_current(self) -> None:
        """Only the one with the cursor is followed."""
        wanted = self._current.id if self._current else None
        if wanted != self._followed:
            self._followed, self._job = wanted, None
            self.query_one(JobPanel).show(None)
            self.restart_feeds()

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        job = self._current
        if action == "inspect":
            return None if job is None else True
        if action == "cancel":
            return True if job is not None and job.state not in ENDED else None
        if action == "pause":
            return job is not None and job.can_pause
        return True

    def action_inspect(self) -> None:
        self.query_one(JobTable).choose()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        job: Job = self._job if self._job is not None and self._job.id == message.row.id else message.row
        self.app.push_screen(RecordScreen(job.title or job.id, facts(job)))

    def action_cancel(self) -> None:
        job = self._current
        if job is None:
            return

        def answered(is_sure: bool | None) -> None:
            if is_sure:
                self.run_worker(self._cancel(job))

        title = f"Cancel this {job.kind}?"
        self.app.push_screen(ConfirmScreen(title, f"{job.title}\n{job.id}", yes="Cancel it", no="Let it run"), answered)

    def action_pause(self) -> None:
        if self._current is not None:
            self.run_worker(self._pause(self._current))

    async def _pause(self, job: Job) -> None:
        is_paused = job.state == "paused"
        if await self.ask((resume_job if is_paused else pause_job)(self.client, job.id)) is not None:
            what = "goes on" if is_paused else "pauses at its next step"
            self.notify(f"{job.title or job.id} {what}.", markup=False)

    async def _cancel(self, job: Job) -> None:
        if await self.ask(cancel_job(self.client, job.id)) is not None:
            self.notify(f"{job.title or job.id} is being ended.", markup=False)


def facts(job: Job) -> list[tuple[str, str]]:
    """For people."""
    log = "\n".join(job.log) if isinstance(job, JobDetails) else ""
    metrics = [("metric", label(*metric)) for metric in job.metrics.items()] if isinstance(job, JobDetails) else []
    times = (("made", job.created), ("begun", job.started), ("ended", job.ended))
    found = [
        ("id", job.id),
        ("kind", job.kind),
        ("state", job.state),
        ("progress", "-" if job.progress is None else f"{100 * job.progress:.1f} %"),
        *((name, "-" if at is None else f"{words.moment(at)} UTC") for name, at in times),
        ("doing", job.detail or "-"),
        ("error", job.error or "-"),
        *metrics,
    ]
    return [*found, ("log", log)] if log else found
