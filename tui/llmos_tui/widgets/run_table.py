"""Tuning runs as a list, with marks on those whose curves are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llmos_tui import words
from llmos_tui.widgets.job_table import BAR_CELLS, LOOKS, duration, progress
from llmos_tui.widgets.rows import Column, Look, Rows
from llmos_tui.wire.jobs import Job
from llmos_tui.wire.tuning import Adapter, TuningRun


@dataclass(frozen=True)
class RunRow:
    """job: as the server's list has it. run: more about it, where it is this key's own. adapter: what came of it."""

    job: Job
    run: TuningRun | None = None
    adapter: Adapter | None = None

    @property
    def id(self) -> str:
        return self.job.id

    @property
    def model(self) -> str:
        """The name that answers."""
        return (self.run.fine_tuned_model if self.run else None) or (self.adapter.name if self.adapter else "")


def what_came_of_it(row: RunRow) -> str:
    """Is it used, by whom, and what did the gate say?"""
    if row.adapter is not None and (row.adapter.is_shared or not row.adapter.owner):
        return "everybody's"
    if row.run is not None and row.run.verdict is not None and not row.run.verdict.promoted:
        return "held by its gate"
    return "its owner's" if row.adapter is not None else "-"


def outcome_look(row: RunRow) -> Look:
    told = what_came_of_it(row)
    return "good" if told == "everybody's" else "bad" if told == "held by its gate" else "plain"


class RunTable(Rows[RunRow]):
    """now: Unix seconds of the last news."""

    def __init__(self) -> None:
        self.now = 0.0
        self.marks: Mapping[str, int] = {}
        columns: tuple[Column[RunRow], ...] = (
            Column("", lambda row: "●" if row.id in self.marks else " ", 1),
            Column("RUN", lambda row: row.model or row.job.title or row.id, 20, share=2),
            Column("STATE", lambda row: row.job.state, 9, look=lambda row: LOOKS.get(row.job.state, "plain")),
            Column("PROGRESS", lambda row: progress(row.job), BAR_CELLS + 6),
            Column("TOOK", lambda row: duration(row.job, self.now), 6, is_right=True),
            Column("FOR", what_came_of_it, 16, look=outcome_look),
            Column("RECIPE", lambda row: row.run.recipe if row.run else "", 10, drop=2),
            Column("DETAIL", lambda row: row.job.error or row.job.detail, 12, share=2, drop=1),
            Column("MADE (UTC)", lambda row: words.moment(row.job.created), 19, drop=3),
        )
        empty = "No tuning run yet. n starts one; llmos tune and /v1/fine_tuning/jobs do, too."
        super().__init__(columns, lambda row: row.id, empty, id="runs")

    def show_runs(self, rows: list[RunRow], now: float, marks: Mapping[str, int]) -> None:
        """marks: ids of those that are compared."""
        has_changed = marks != self.marks
        self.now, self.marks = now, dict(marks)
        self.show(rows)
        if has_changed or any(row.job.ended is None for row in rows):
            self.refresh()
