"""Tuning runs, what came of them, and the evals that tell whether it is better."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial

from textual.app import ComposeResult
from textual.widgets import ContentSwitcher
from textual.worker import WorkType

from llmos_tui.calls.jobs import follow_job, follow_jobs
from llmos_tui.calls.live import get_overview
from llmos_tui.feeds import Feed
from llmos_tui.messages import JobsArrived, RunArrived
from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.tune.evals_view import EvalsView
from llmos_tui.screens.tune.runs_view import RunsView

CURVE_SECONDS = 2.0
"""Between two looks at a run's curves, at least: each has all of their points."""


class TuneScreen(LLMOSScreen):
    """Runs; from there to evals, and back by esc."""

    DEFAULT_CSS = """
    TuneScreen ContentSwitcher { height: 1fr; }
    """
    BINDING_GROUP_TITLE = "Tune"

    def __init__(self, place_name: str = "tune") -> None:
        super().__init__(place_name)
        self._followed: list[str] = []
        self._ahead_seconds = 0.0

    def compose_body(self) -> ComposeResult:
        with ContentSwitcher(initial="tuning-runs"):
            yield RunsView(id="tuning-runs")
            yield EvalsView(id="evals")

    @property
    def runs(self) -> RunsView:
        return self.query_one(RunsView)

    def feeds(self) -> Iterable[Feed]:
        interval = self.llmos.interval
        yield Feed(partial(follow_jobs, interval=interval), JobsArrived)
        for id in self._followed:
            yield Feed(partial(follow_job, id=id, interval=max(interval, CURVE_SECONDS)), RunArrived)

    def came_online(self) -> None:
        self.runs.begin_refetch()
        work: WorkType[None] = self._ask_overview
        self.run_worker(work)

    async def _ask_overview(self) -> None:
        """For the server's clock and the model that a form begins with."""
        overview = await self.ask(get_overview(self.client))
        if overview is not None:
            self._ahead_seconds = overview.time - time.time()
            names = [model.name for model in overview.models if model.kind == "decoder"]
            default = [model.name for model in overview.models if model.is_default]
            self.runs.default_model = next(iter([*default, *names]), "")

    def _now(self) -> float:
        return self.llmos.clock() if self.llmos.clock else time.time() + self._ahead_seconds

    def on_jobs_arrived(self, message: JobsArrived) -> None:
        self.runs.show_jobs(message.jobs.data, self._now())

    def on_run_arrived(self, message: RunArrived) -> None:
        self.runs.show_run(message.job)

    def on_runs_view_follow(self, message: RunsView.Follow) -> None:
        if message.ids != self._followed:
            self._followed = message.ids
            self.restart_feeds()

    def on_runs_view_evals(self, message: RunsView.Evals) -> None:
        self.query_one(ContentSwitcher).current = "evals"
        view = self.query_one(EvalsView)
        view.evals.focus()
        view.look()

    def on_evals_view_back(self, message: EvalsView.Back) -> None:
        self.query_one(EvalsView).hide()
        self.query_one(ContentSwitcher).current = "tuning-runs"
        self.runs.table.focus()
