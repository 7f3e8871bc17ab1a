"""How long something takes, as bars: one a bucket of a histogram."""

from __future__ import annotations

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from llmos_tui import words
from llmos_tui.history import quantile
from llmos_tui.wire.live import Histogram

WIDEST = 8
"""Cells of a bar."""

EIGHTHS = " ▁▂▃▄▅▆▇█"


def shown_range(histogram: Histogram) -> tuple[int, int]:
    """Numbers of the first bucket that isn't empty, and of the one behind the last."""
    full = [number for number, count in enumerate(histogram.counts) if count]
    return (full[0], full[-1] + 1) if full else (0, 0)


def gathered(counts: list[int], room: int) -> list[int]:
    """At most room numbers: neighbours are added up where there are more."""
    step = -(-len(counts) // max(1, room))
    return [sum(counts[start : start + step]) for start in range(0, len(counts), step)]


def bars(counts: list[int], width: int, height: int) -> list[str]:
    """Lines of blocks; bars are as wide as there is room for. What isn't zero is seen."""
    if not counts or width < 1 or height < 1:
        return [" " * width] * height
    counts = gathered(counts, width)
    size = min(WIDEST, width // len(counts))
    top = max(counts) or 1
    steps = [max(1 if count else 0, round(8 * height * count / top)) for count in counts]
    lines = []
    for line in range(height):
        base = 8 * (height - 1 - line)
        lines.append("".join(EIGHTHS[max(0, min(8, step - base))] * size for step in steps).ljust(width))
    return lines


def in_words(name: str, histogram: Histogram, width: int) -> str:
    """TTFT 60 s: p50 120 ms p95 480 ms p99 1.0 s; less of it where there is no room."""
    if not sum(histogram.counts):
        return f"{name} none"
    for shares in ((0.5, 0.95, 0.99), (0.5, 0.99), (0.5,)):
        text = " ".join([name, *(f"p{share * 100:.0f} {_limit(histogram, share)}" for share in shares)])
        if len(text) <= width:
            break
    return text


def _limit(histogram: Histogram, share: float) -> str:
    value = quantile(histogram, share)
    if value == float("inf"):
        return f"over {words.seconds(histogram.bounds[-1])}"
    return words.seconds(value)


class Distribution(Widget):
    """A line of words over bars, and under them from where to where they go."""

    COMPONENT_CLASSES = {"distribution--label", "distribution--bars", "distribution--axis"}
    DEFAULT_CSS = """
    Distribution { height: 1fr; min-height: 2; }
    Distribution .distribution--label { color: $foreground; }
    Distribution .distribution--bars { color: $chart-third; }
    Distribution .distribution--axis { color: $text-muted; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = ""
        self._histogram = Histogram()
        self._drawn: list[tuple[str, str]] = []

    def show(self, name: str, histogram: Histogram) -> None:
        self._title, self._histogram = name, histogram
        lines = self._lines()
        if lines != self._drawn:
            self._drawn = lines
            self.refresh()

    def on_resize(self) -> None:
        self._drawn = self._lines()
        self.refresh()

    def _lines(self) -> list[tuple[str, str]]:
        width, height = self.size.width, self.size.height
        first, end = shown_range(self._histogram)
        has_axis = height > 2 and end > first
        lines = [("label", in_words(self._title, self._histogram, width))]
        counts = self._histogram.counts[first:end]
        lines += [("bars", text) for text in bars(counts, width, height - 1 - has_axis)]
        return [*lines, ("axis", self._axis(first, end, len(lines[-1][1].rstrip())))] if has_axis else lines

    def _axis(self, first: int, end: int, width: int) -> str:
        bounds = self._histogram.bounds
        low = words.seconds(bounds[first - 1]) if first else "0"
        high = words.seconds(bounds[end - 1]) if end <= len(bounds) else f"> {words.seconds(bounds[-1])}"
        return low + high.rjust(max(width - len(low), len(high) + 1))

    def render_line(self, y: int) -> Strip:
        kind, text = self._drawn[y] if y < len(self._drawn) else ("label", "")
        style = self.get_component_rich_style(f"distribution--{kind}")
        return Strip([Segment(text, style)]).adjust_cell_length(self.size.width, self.rich_style)
