"""An attention pattern: tokens on both axes, weights as colour and as characters, a cursor that reads them."""

from __future__ import annotations

from bisect import bisect_right
from math import sqrt
from typing import ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from llmos_tui.widgets.token_text import visible
from llmos_tui.wire.inside import Attention

CELL = 2
"""Cells a weight takes."""
LEVELS = (0.02, 0.1, 0.25, 0.5)
"""Where the next character begins: finer where most weights are."""
SIGNS = ("· ", "░░", "▒▒", "▓▓", "██")
"""One more than levels; they can be told apart without colours."""
NUM_COLOURS = 16
"""By the square root of a weight, for the same reason."""
HEAD_LINES = 6
LABEL_CELLS = 14
NONE = "  "
MOVES = Binding.Group("Move", compact=True)


class HeatMap(ScrollView, can_focus=True):
    """Rows look, columns are looked at. Axes stay in place while the map is scrolled."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"heat--axis", "heat--axis-cursor", "heat--low", "heat--high"}
    DEFAULT_CSS = """
    HeatMap { height: 1fr; min-height: 4; scrollbar-size: 1 1; }
    HeatMap .heat--axis { color: $text-muted; }
    HeatMap .heat--axis-cursor { color: $foreground; text-style: bold reverse; }
    HeatMap .heat--low { color: $page-free; }
    HeatMap .heat--high { color: $chart-out; }
    """
    BINDING_GROUP_TITLE = "Map"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move_cursor(-1, 0)", "Up", tooltip="The token before looks", id="heat.up", group=MOVES),
        Binding("down,j", "move_cursor(1, 0)", "Down", tooltip="The next token looks", id="heat.down", group=MOVES),
        Binding("left,h", "move_cursor(0, -1)", "Left", tooltip="At the one before", id="heat.left", group=MOVES),
        Binding("right,l", "move_cursor(0, 1)", "Right", tooltip="At the next one", id="heat.right", group=MOVES),
        Binding("home", "move_to_strongest", "Strongest", tooltip="Where it looks most", id="heat.strongest"),
    ]

    class Moved(Message):
        """The cursor is elsewhere, or the map is another."""

    def __init__(self) -> None:
        super().__init__(id="heat-map")
        self._map: Attention | None = None
        self._row = self._column = 0
        self._names: list[str] = []

    # What is shown

    @property
    def cursor(self) -> tuple[int, int]:
        """(token that looks, token that is looked at)."""
        return self._row, self._column

    @property
    def weight(self) -> float | None:
        """Under the cursor; None where there is no map."""
        return self._map.weights[self._row][self._column] if self._map and self._map.weights else None

    def show(self, attention: Attention) -> None:
        """The cursor stays, if the tokens are the same; else it is on the last token, where it looks most."""
        is_same = self._map is not None and self._map.token_ids == attention.token_ids
        self._map = attention
        self._names = [visible(token) for token in attention.tokens]
        count = len(attention.weights)
        self.virtual_size = Size(LABEL_CELLS + CELL * count, HEAD_LINES + count)
        if not is_same:
            self._row = max(0, count - 1)
            self.action_move_to_strongest()
        self.refresh()
        self.post_message(self.Moved())

    def clear(self) -> None:
        self._map, self._names, self._row, self._column = None, [], 0, 0
        self.virtual_size = Size(0, 0)
        self.refresh()
        self.post_message(self.Moved())

    # Drawing

    def render_line(self, y: int) -> Strip:
        attention, width = self._map, self.size.width
        if attention is None:
            return Strip.blank(width, self.rich_style)
        left = self.scroll_offset.x // CELL
        shown = range(left, min(len(self._names), left + max(0, width - LABEL_CELLS) // CELL))
        if y < HEAD_LINES:
            segments = self._head(y, shown)
        elif (row := y - HEAD_LINES + self.scroll_offset.y) < len(attention.weights):
            segments = self._line(row, shown)
        else:
            segments = []
        return Strip(segments).apply_style(self.rich_style).adjust_cell_length(width, self.rich_style)

    def _head(self, y: int, shown: range) -> list[Segment]:
        """Names from the top down, ending at the map."""
        axis, current = self._axis_styles()
        segments = [Segment(" " * LABEL_CELLS, axis)]
        for column in shown:
            name = self._names[column][:HEAD_LINES].rjust(HEAD_LINES)
            segments.append(Segment(set_cell_size(name[y], CELL), current if column == self._column else axis))
        return segments

    def _line(self, row: int, shown: range) -> list[Segment]:
        assert self._map is not None
        axis, current = self._axis_styles()
        name = f"{row} {self._names[row]}"
        label = set_cell_size(name, LABEL_CELLS - 1) + " "
        segments = [Segment(label, current if row == self._row else axis)]
        weights, styles = self._map.weights[row], self._colours()
        for column in shown:
            weight = weights[column]
            sign = NONE if weight == 0 and column > row else SIGNS[bisect_right(LEVELS, weight)]
            style = styles[min(NUM_COLOURS - 1, int(NUM_COLOURS * sqrt(max(0.0, weight))))]
            segments.append(Segment(sign, current if (row, column) == self.cursor else style))
        return segments

    def _axis_styles(self) -> tuple[Style, Style]:
        return self.get_component_rich_style("heat--axis"), self.get_component_rich_style("heat--axis-cursor")

    def _colours(self) -> list[Style]:
        """From faint to strong."""
        low = self.get_component_styles("heat--low").color
        high = self.get_component_styles("heat--high").color
        shares = (number / (NUM_COLOURS - 1) for number in range(NUM_COLOURS))
        return [Style(color=low.blend(high, share).rich_color) for share in shares]

    # Cursor

    def action_move_cursor(self, rows: int, columns: int) -> None:
        self._go(self._row + rows, self._column + columns)

    def action_move_to_strongest(self) -> None:
        if self._map is not None and self._map.weights:
            weights = self._map.weights[self._row]
            self._go(self._row, weights.index(max(weights)))

    def _go(self, row: int, column: int) -> None:
        last = len(self._names) - 1
        self._row, self._column = max(0, min(row, last)), max(0, min(column, last))
        room = Size(self.size.width - LABEL_CELLS, self.size.height - HEAD_LINES)
        x = _scrolled(self.scroll_offset.x, CELL * self._column, CELL, room.width)
        y = _scrolled(self.scroll_offset.y, self._row, 1, room.height)
        if (x, y) != tuple(self.scroll_offset):
            self.scroll_to(x=x, y=y, animate=False, force=True)
        self.refresh(Region(0, 0, *self.size))
        self.post_message(self.Moved())

    def on_click(self, event: events.Click) -> None:
        row = event.y - HEAD_LINES + self.scroll_offset.y
        column = (event.x - LABEL_CELLS) // CELL + self.scroll_offset.x // CELL
        if event.y >= HEAD_LINES and event.x >= LABEL_CELLS and max(row, column) < len(self._names):
            self._go(row, column)


def _scrolled(offset: int, place: int, size: int, room: int) -> int:
    """The offset that has a place in view, changed as little as can be."""
    if place < offset:
        return place
    return max(offset, place + size - max(size, room))
