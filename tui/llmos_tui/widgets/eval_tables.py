"""Evals, and the runs of one."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_tui import words
from llmos_tui.widgets.job_table import BAR_CELLS
from llmos_tui.widgets.rows import Column, Look, Rows
from llmos_tui.widgets.usage_bar import bar
from llmos_tui.wire.evals import Eval, EvalRun

LOOKS: dict[str, Look] = {"completed": "good", "queued": "warn", "failed": "bad", "canceled": "muted"}


def graders(measured: Eval) -> str:
    return ", ".join(str(one.get("name") or one.get("type")) for one in measured.testing_criteria)


class EvalTable(Rows[Eval]):
    def __init__(self) -> None:
        columns: tuple[Column[Eval], ...] = (
            Column("EVAL", lambda measured: measured.name or measured.id, 20, share=2),
            Column("GRADERS", graders, 20, share=3),
            Column("MADE (UTC)", lambda measured: words.moment(measured.created_at), 19, drop=1),
            Column("ID", lambda measured: measured.id, 14, share=1, drop=2),
        )
        empty = "No evals of this key. llmos eval makes them, and /v1/evals."
        super().__init__(columns, lambda measured: measured.id, empty, id="evals-table")


def passed(run: EvalRun) -> str:
    counts = run.result_counts
    errors = f", {counts.errored} errors" if counts.errored else ""
    return f"{counts.passed} of {counts.total} ({words.share(counts.passed, counts.total)}){errors}"


def scores(run: EvalRun) -> str:
    known = [one for one in run.per_testing_criteria_results if one.mean_score is not None]
    return "  ".join(f"{one.testing_criteria} {one.mean_score:.3f}" for one in known)


def eval_progress(run: EvalRun) -> str:
    return "" if run.progress is None else f"{bar(run.progress, BAR_CELLS)} {100 * run.progress:3.0f} %"


class EvalRunTable(Rows[EvalRun]):
    """The numbers at the left are the columns of the comparison."""

    def __init__(self) -> None:
        self._marks: Sequence[str] = ()
        columns: tuple[Column[EvalRun], ...] = (
            Column("", self._mark, 1),
            Column("MODEL", lambda run: run.model or "answers given", 20, share=2),
            Column("STATE", lambda run: run.status, 11, look=lambda run: LOOKS.get(run.status, "plain")),
            Column("PROGRESS", eval_progress, BAR_CELLS + 6, drop=2),
            Column("PASSED", passed, 18),
            Column("MEAN SCORES", scores, 16, share=2, drop=1),
            Column("MADE (UTC)", lambda run: words.moment(run.created_at), 19, drop=3),
        )
        super().__init__(columns, lambda run: run.id, "It has no runs.", id="eval-runs")

    def _mark(self, run: EvalRun) -> str:
        return str(self._marks.index(run.id) + 1) if run.id in self._marks else " "

    def show_runs(self, runs: list[EvalRun], marks: Sequence[str], empty: str) -> None:
        has_changed = marks != self._marks
        self._marks = tuple(marks)
        self.show(runs, empty=empty)
        if has_changed:
            self.refresh()
