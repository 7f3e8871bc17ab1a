"""All about one tuning run, in words."""

from __future__ import annotations

from typing import Any

from llmos_tui import words
from llmos_tui.widgets.job_panel import label
from llmos_tui.widgets.run_table import RunRow, what_came_of_it
from llmos_tui.wire.jobs import JobDetails
from llmos_tui.wire.tuning import TuningRun


def facts(row: RunRow, details: JobDetails | None) -> list[tuple[str, Any]]:
    job = row.job
    times = (("made", job.created), ("begun", job.started), ("ended", job.ended))
    found: list[tuple[str, Any]] = [
        ("id", job.id),
        ("state", job.state),
        ("model", row.model or "-"),
        ("for", what_came_of_it(row)),
        ("progress", "-" if job.progress is None else f"{100 * job.progress:.1f} %"),
        *((name, "-" if at is None else f"{words.moment(at)} UTC") for name, at in times),
        ("doing", job.detail or "-"),
        ("error", job.error or "-"),
    ]
    if row.adapter is not None:
        found.append(("adapter", f"rank {row.adapter.rank}, {words.size(row.adapter.num_bytes)}"))
    if row.run is not None:
        found += _of_run(row.run)
    if details is not None:
        found += [("metric", label(*metric)) for metric in details.metrics.items()]
        found += [("log", "\n".join(details.log))] if details.log else []
    return found


def _of_run(run: TuningRun) -> list[tuple[str, Any]]:
    verdict = run.verdict
    return [
        ("base", run.model),
        ("method", f"{run.method.type}, recipe {run.recipe or '-'}"),
        ("examples", f"{run.training_file}: {words.count(run.num_examples)}"),
        ("held out", run.validation_file or "-"),
        ("steps", words.count(run.total_steps)),
        ("trained tokens", words.count(run.trained_tokens)),
        ("done at", "-" if run.estimated_finish is None else f"{words.moment(run.estimated_finish)} UTC"),
        ("gate", "-" if verdict is None else f"{'passed' if verdict.promoted else 'held'}: {verdict.reason}"),
        ("values", run.values),
    ]
