"""Several curves over each other, in dots of braille: loss by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from llmos_tui import words

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of a braille character: left and right, from above."""
NUM_COLOURS = 6
SCALE_CELLS = 7

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """points: (step, value), steps ascending. colour: 0 to NUM_COLOURS - 1."""

    name: str
    points: Points
    colour: int


def value_at(points: Points, step: float) -> float | None:
    """Between two points on the line that joins them; None before the first and behind the last."""
    if not points or not points[0][0] <= step <= points[-1][0]:
        return None
    low, high = 0, len(points) - 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if points[middle][0] <= step else (low, middle)
    (left, first), (right, last) = points[low], points[high]
    return last if right == left else first + (last - first) * (step - left) / (right - left)


def bounds(curves: Sequence[Curve]) -> tuple[float, float, float, float]:
    """First and last step, least and greatest value, none of the two the same."""
    steps = [step for curve in curves for step, _ in curve.points] or [0.0]
    values = [value for curve in curves for _, value in curve.points] or [0.0]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return min(steps), max(max(steps), min(steps) + 1), low, high


def drawn(curves: Sequence[Curve], width: int, height: int) -> list[list[tuple[str, int]]]:
    """Lines of (character, colour), a cell each. Where curves cross, the later one's colour is shown."""
    bits = [[0] * width for _ in range(height)]
    colours = [[0] * width for _ in range(height)]
    first, last, low, high = bounds(curves)
    for curve in curves:
        before: int | None = None
        for x in range(2 * width):
            value = value_at(curve.points, first + (last - first) * x / max(1, 2 * width - 1))
            if value is None:
                before = None
                continue
            y = round((high - value) / (high - low) * (4 * height - 1))
            top, bottom = (
                (y, y) if before is None or abs(y - before) < 2 else sorted((y, before + (y > before) * 2 - 1))
            )
            for dot in range(top, bottom + 1):
                bits[dot // 4][x // 2] |= DOTS[x % 2][dot % 4]
                colours[dot // 4][x // 2] = curve.colour
            before = y
    return [
        [(chr(0x2800 + bit) if bit else " ", colour) for bit, colour in zip(*line, strict=True)]
        for line in zip(bits, colours, strict=True)
    ]


class Curves(Widget):
    """A legend, a line for each curve, above the plot with its scales."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"curves--words", *(f"curves--{number}" for number in range(NUM_COLOURS))}
    DEFAULT_CSS = """
    Curves { height: 1fr; min-height: 3; }
    Curves .curves--words { color: $text-muted; }
    Curves .curves--0 { color: $chart-in; }
    Curves .curves--1 { color: $chart-out; }
    Curves .curves--2 { color: $chart-third; }
    Curves .curves--3 { color: $accent; }
    Curves .curves--4 { color: $error; }
    Curves .curves--5 { color: $foreground; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._metric = ""
        self._curves: list[Curve] = []
        self._empty = ""
        self._lines: list[list[tuple[str, str]]] = []

    def show(self, metric: str, curves: Sequence[Curve], empty: str) -> None:
        """empty: what is told where there is nothing to draw. The last curve lies on top."""
        self._metric, self._curves, self._empty = metric, [curve for curve in curves if curve.points], empty
        self._redraw()

    def on_resize(self) -> None:
        self._redraw()

    def _redraw(self) -> None:
        lines = self._compute() if self.size.width > SCALE_CELLS + 1 else []
        if lines != self._lines:
            self._lines = lines
            self.refresh()

    def _compute(self) -> list[list[tuple[str, str]]]:
        """(text, component) of each line."""
        if not self._curves:
            return [[(self._empty, "words")]]
        legend = [
            [("━━ ", str(curve.colour)), (f"{self._metric} {_last(curve)}  {words.one_line(curve.name)}", "words")]
            for curve in self._curves
        ]
        height = self.size.height - len(legend) - 1
        if height < 1:
            return legend
        width = self.size.width - SCALE_CELLS - 1
        first, last, low, high = bounds(self._curves)
        plot = []
        for number, cells in enumerate(drawn(self._curves, width, height)):
            at = high if number == 0 else low if number == height - 1 else None
            scale = "" if at is None else f"{at:.4g}"
            plot.append([(f"{scale:>{SCALE_CELLS}} ", "words"), *((sign, str(colour)) for sign, colour in cells)])
        right = f"step {words.count(last)}"
        foot = f"{words.count(first)}".ljust(max(0, width - len(right))) + right
        return [*legend, *plot, [(" " * (SCALE_CELLS + 1) + foot, "words")]]

    def render_line(self, y: int) -> Strip:
        parts = self._lines[y] if y < len(self._lines) else []
        room = self.size.width
        segments = [
            Segment(set_cell_size(text, room) if len(text) > room else text, self._style(kind)) for text, kind in parts
        ]
        return Strip(segments).adjust_cell_length(room, self.rich_style)

    def _style(self, kind: str) -> Style:
        return self.get_component_rich_style(f"curves--{kind}")


def _last(curve: Curve) -> str:
    step, value = curve.points[-1]
    return f"{value:.4g} at {words.count(step)}"
