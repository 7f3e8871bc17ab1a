"""A report in Markdown; its plots are made of characters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmos_server.evaluation.metrics.bootstrap import Interval
from llmos_server.evaluation.report.figures import Report
from llmos_server.evaluation.report.telling import (
    NOTE,
    Row,
    difference_rows,
    further_rows,
    item_rows,
    mean_rows,
    run_rows,
    scales,
)

WIDTH = 41
BLOCKS = " ▁▂▃▄▅▆▇█"
NUM_BINS = 10


def write_markdown(report: Report) -> str:
    parts = [f"# {escape(report.title)}", f"Made {report.made}.", table(run_rows(report)), "## Scores"]
    parts += [NOTE, table(mean_rows(report)), plot(report)]
    if report.comparison is not None:
        left_out = f" {report.comparison.num_left_out} items, which an error kept from a grade, are left out."
        told = f"Over {report.comparison.num_items} items." + (left_out if report.comparison.num_left_out else "")
        parts += ["## Side by side", told, table(difference_rows(report))]
    further = list(further_rows(report))
    if len(further) > 1:
        parts += ["## Figures of the whole set", table(further)]
    title, rows = item_rows(report)
    parts += [f"## {title}", table(rows) if len(rows) > 1 else "None."]
    return "\n\n".join(part for part in parts if part) + "\n"


def table(rows: Iterable[Row]) -> str:
    cells = [[escape(cell) for cell in row] for row in rows]
    if not cells:
        return ""
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], f"|{' --- |' * len(cells[0])}", *lines[1:]])


def plot(report: Report) -> str:
    """Means with their intervals, and how the scores are spread."""
    lines = list(_plot(report))
    return "\n".join(["```text", *lines, "```"]) if lines else ""


def _plot(report: Report) -> Iterator[str]:
    bounds = scales(report.runs)
    width = max(len(run.name) for run in report.runs)
    for name, (low, high) in bounds.items():
        yield f"{name}, {low:g} to {high:g}"
        for run in report.runs:
            for criterion in run.criteria:
                if criterion.name == name:
                    spread = _spread(criterion.scores, low, high)
                    yield f"  {run.name:<{width}} {_whiskers(criterion.mean, low, high)}  {spread}"


def _whiskers(interval: Interval, low: float, high: float) -> str:
    places = [
        round((value - low) / (high - low) * (WIDTH - 1)) for value in (interval.low, interval.mean, interval.high)
    ]
    first, middle, last = (min(max(place, 0), WIDTH - 1) for place in places)
    line = ["·"] * WIDTH
    line[first : last + 1] = "─" * (last + 1 - first)
    line[first], line[last] = "├", "┤"
    line[middle] = "●"
    return "".join(line)


def _spread(scores: list[float], low: float, high: float) -> str:
    counts = histogram(scores, low, high)
    most = max(counts)
    return "".join(BLOCKS[0 if not count else max(1, round(count / most * 8))] for count in counts)


def histogram(scores: list[float], low: float, high: float) -> list[int]:
    counts = [0] * NUM_BINS
    for score in scores:
        counts[min(int((score - low) / (high - low) * NUM_BINS), NUM_BINS - 1)] += 1
    return counts


def escape(text: str) -> str:
    """One line, that is read as text."""
    flat = " ".join(text.split())
    for sign in "\\`*_{}[]<>#|~":
        flat = flat.replace(sign, f"\\{sign}")
    return flat
