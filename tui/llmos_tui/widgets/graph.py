"""A curve that moves: the newest value on the right, in dots of braille."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

LEFT = (0x00, 0x40, 0x44, 0x46, 0x47)
RIGHT = (0x00, 0x80, 0xA0, 0xB0, 0xB8)
"""Dots of a character by how many steps are filled, from below."""


def nice_top(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten: so that the scale is still while the curve moves."""
    if value <= 0:
        return 1.0
    power = 1.0
    while power * 10 <= value:
        power *= 10
    while power > value:
        power /= 10
    return next(power * step for step in (1, 2, 5, 10) if power * step >= value)


def braille(values: Sequence[float], width: int, height: int, top: float) -> list[str]:
    """Filled curve: two values a character, four steps a line. The last value is at the right; less than 2 * width
    values leave room at the left. What isn't zero has a dot at least."""
    shown = [0.0] * (2 * width - len(values)) + list(values[-2 * width :])
    if not any(shown):
        return [" " * width] * height
    steps = [min(4 * height, max(1 if value > 0 else 0, round(4 * height * value / top))) for value in shown]
    lines = []
    for line in range(height):
        base = 4 * (height - 1 - line)
        filled = [0 if step <= base else 4 if step >= base + 4 else step - base for step in steps]
        bits = (LEFT[filled[place]] | RIGHT[filled[place + 1]] for place in range(0, 2 * width, 2))
        lines.append("".join(chr(0x2800 + each) if each else " " for each in bits))
    return lines


class Graph(Widget):
    """A line of words over a curve."""

    COMPONENT_CLASSES = {"graph--label", "graph--curve"}
    DEFAULT_CSS = """
    Graph { height: 1fr; min-height: 2; }
    Graph .graph--label { color: $foreground; }
    Graph .graph--curve { color: $chart-in; }
    Graph.-out .graph--curve { color: $chart-out; }
    Graph.-third .graph--curve { color: $chart-third; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._label = ""
        self._values: Sequence[float] = ()
        self._drawn: list[str] = []

    def show(self, label: str, values: Sequence[float]) -> None:
        """label: one line. values: oldest first; as many as there is room for are drawn."""
        self._label, self._values = label, values
        lines = self._lines()
        if lines != self._drawn:
            self._drawn = lines
            self.refresh()

    def _lines(self) -> list[str]:
        width, height = self.size.width, self.size.height - 1
        if width < 1 or height < 1:
            return [self._label]
        top = nice_top(max(self._values[-2 * width :], default=0.0))
        return [self._label, *braille(self._values, width, height, top)]

    def on_resize(self) -> None:
        self._drawn = self._lines()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        text = self._drawn[y] if y < len(self._drawn) else ""
        style: Style = self.get_component_rich_style("graph--curve" if y else "graph--label")
        return Strip([Segment(text, style)]).adjust_cell_length(self.size.width, self.rich_style)
