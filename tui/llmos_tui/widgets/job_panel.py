"""One job: what it says, and its metrics as curves."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Static

from llmos_tui import words
from llmos_tui.widgets.graph import Graph
from llmos_tui.wire.jobs import JobDetails

MAX_GRAPHS = 3
LOOKS = ("", "-out", "-third")


class Curve(Graph):
    """The whole of it, however wide the graph is."""

    _points: Sequence[float] = ()

    def show(self, label: str, values: Sequence[float]) -> None:
        self._points = values
        super().show(label, values)

    def _lines(self) -> list[str]:
        self._values = whole(self._points, 2 * self.size.width)
        return super()._lines()


class JobPanel(Horizontal):
    """The log at the left; at the right a graph for each of the first metrics, if there are any."""

    DEFAULT_CSS = """
    JobPanel { height: 9; border-top: solid $secondary; border-title-style: bold; }
    JobPanel.-tall { height: 50%; }
    JobPanel #job-log { width: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    JobPanel #job-graphs { width: 1fr; layout: vertical; }
    JobPanel #job-text { width: 1fr; height: auto; }
    """

    def __init__(self) -> None:
        super().__init__(id="job-panel")
        self._graphs = [Curve(classes=look) for look in LOOKS[:MAX_GRAPHS]]
        self._text = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="job-log", can_focus=False):
            yield Static("", id="job-text", markup=False)
        with VerticalScroll(id="job-graphs", can_focus=False):
            yield from self._graphs

    def show(self, job: JobDetails | None) -> None:
        self._show_log(job)
        metrics = list(job.metrics.items())[:MAX_GRAPHS] if job else []
        more = len(job.metrics) - len(metrics) if job else 0
        self.border_subtitle = f"{more} more metrics: enter" if more else ""
        self.query_one("#job-graphs").display = bool(metrics)
        for number, graph in enumerate(self._graphs):
            graph.display = number < len(metrics)
            if number < len(metrics):
                name, points = metrics[number]
                graph.show(label(name, points), [value for _, value in points])

    def _show_log(self, job: JobDetails | None) -> None:
        self.border_title = Text(f"{job.kind} {job.id}: {job.state}" if job else "No job").plain.replace("[", r"\[")
        error = [f"It failed: {job.error}"] if job and job.error else []
        log = [*job.log, *error] if job else []
        text = "\n".join(log) or (job.detail if job else "") or "It has no log."
        if text != self._text:
            self._text = text
            self.query_one("#job-text", Static).update(Text(text))
            self.query_one("#job-log").scroll_end(animate=False)


def label(name: str, points: Sequence[tuple[float, float]]) -> str:
    """The last value, and between which they are."""
    if not points:
        return words.one_line(name)
    values = [value for _, value in points]
    low, high, last = (_number(value, name) for value in (min(values), max(values), values[-1]))
    return f"{words.one_line(name)} {last} at {words.count(points[-1][0])}, {low} to {high}"


def _number(value: float, name: str) -> str:
    return words.size(value) if name == "bytes" else f"{value:.4g}"


def whole(values: Sequence[float], places: int) -> list[float]:
    """The whole curve in so many places: means of neighbours where there are more, each again where there are fewer."""
    count = len(values)
    if not count or places < 1:
        return []
    found = []
    for place in range(places):
        first = place * count // places
        part = values[first : max(first + 1, (place + 1) * count // places)]
        found.append(sum(part) / len(part))
    return found
