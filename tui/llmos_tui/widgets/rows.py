"""A list of any length of which only the lines that can be seen are drawn, with a cursor that stays on its row."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

from rich.cells import set_cell_size
from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from llmos_tui.words import one_line

Row = TypeVar("Row")
Look = Literal["plain", "good", "warn", "bad", "muted"]

GAP = "  "
MOVES = Binding.Group("Move", compact=True)


@dataclass(frozen=True)
class Column(Generic[Row]):
    """width: in cells. share: of the room that is left, for columns that grow; width is then the least. Columns go from
    the right where there is no room, those with the highest `drop` first; 0 never goes."""

    title: str
    cell: Callable[[Row], str]
    width: int
    share: int = 0
    is_right: bool = False
    drop: int = 0
    look: Callable[[Row], Look] | None = None


class Rows(ScrollView, Generic[Row], can_focus=True):
    """`show(rows)` as often as there is news: lines that stay as they were aren't drawn again."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "rows--head",
        "rows--cursor",
        "rows--plain",
        "rows--good",
        "rows--warn",
        "rows--bad",
        "rows--muted",
    }
    DEFAULT_CSS = """
    Rows { height: 1fr; min-height: 3; overflow-x: hidden; scrollbar-size-vertical: 1; }
    Rows .rows--head { text-style: bold; color: $text-muted; background: $panel; }
    Rows .rows--plain { color: $foreground; }
    Rows .rows--good { color: $success; }
    Rows .rows--warn { color: $warning; }
    Rows .rows--bad { color: $error; }
    Rows .rows--muted { color: $text-muted; }
    Rows .rows--cursor { background: $boost; text-style: none; }
    Rows:focus .rows--cursor { background: $block-cursor-background; color: $block-cursor-foreground; }
    """
    BINDING_GROUP_TITLE = "List"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", tooltip="One row up", id="rows.up", group=MOVES),
        Binding("down,j", "move(1)", "Down", tooltip="One row down", id="rows.down", group=MOVES),
        Binding("pageup", "move_page(-1)", "Page up", tooltip="A page up", id="rows.pageup", show=False),
        Binding("pagedown", "move_page(1)", "Page down", tooltip="A page down", id="rows.pagedown", show=False),
        Binding("home", "move_to_end(-1)", "First", tooltip="The first row", id="rows.first", show=False),
        Binding("end", "move_to_end(1)", "Last", tooltip="The last row", id="rows.last", show=False),
    ]

    cursor: reactive[int] = reactive(0, repaint=False)
    """Number of the row, from 0."""

    class Chosen(Message):
        """Enter on a row, or a click on the one with the cursor. `rows` is the list, `row` what it was given."""

        def __init__(self, rows: Rows[Any], row: Any) -> None:
            self.rows, self.row = rows, row
            super().__init__()

        @property
        def control(self) -> Rows[Any]:
            return self.rows

    class Moved(Message):
        """The cursor is on another row; None when there is none."""

        def __init__(self, rows: Rows[Any], row: Any) -> None:
            self.rows, self.row = rows, row
            super().__init__()

        @property
        def control(self) -> Rows[Any]:
            return self.rows

    def __init__(
        self, columns: Sequence[Column[Row]], key: Callable[[Row], Hashable], empty: str = "", *, id: str | None = None
    ) -> None:
        """key: what makes a row the same row when it is shown anew. empty: told where there is no row."""
        super().__init__(id=id)
        self._columns = tuple(columns)
        self._key = key
        self._empty = empty
        self._rows: Sequence[Row] = ()
        self._widths: list[tuple[Column[Row], int]] = []

    @property
    def rows(self) -> Sequence[Row]:
        return self._rows

    @property
    def current(self) -> Row | None:
        """The row with the cursor."""
        return self._rows[self.cursor] if self.cursor < len(self._rows) else None

    def show(self, rows: Sequence[Row], *, empty: str | None = None) -> None:
        """rows: not changed afterwards. empty: as at the start, if it is another now."""
        before, old_key = self._rows, self._current_key()
        self._rows = rows
        is_same_text = empty in (None, self._empty)
        self._empty = self._empty if empty is None else empty
        self._follow(old_key)
        if len(before) != len(rows) or not is_same_text:
            self._resize()
            self.refresh()
            return
        for y in range(self._height):
            place = y + self.scroll_offset.y
            if place < len(rows) and before[place] != rows[place]:
                self.refresh(Region(0, y + 1, self.size.width, 1))

    def _current_key(self) -> Hashable:
        return None if self.current is None else self._key(self.current)

    def _follow(self, key: Hashable) -> None:
        """The cursor stays on its row; where that is gone, on its place."""
        if key is not None:
            if self.current is not None and self._key(self.current) == key:
                return
            for place, row in enumerate(self._rows):
                if self._key(row) == key:
                    self.cursor = place
                    return
        self.set_reactive(Rows.cursor, max(0, min(self.cursor, len(self._rows) - 1)))
        if key != self._current_key():
            self.post_message(self.Moved(self, self.current))
        self.refresh()

    # Size

    @property
    def _height(self) -> int:
        """Rows that can be seen."""
        return max(1, self.size.height - 1)

    def _resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self._rows) + 1)
        self._widths = self._fit(self.scrollable_content_region.width)

    def on_resize(self) -> None:
        self._resize()
        self._scroll_to_cursor()

    def _fit(self, room: int) -> list[tuple[Column[Row], int]]:
        shown = list(self._columns)
        while sum(column.width + len(GAP) for column in shown) - len(GAP) > room:
            goes = max(shown, key=lambda column: column.drop)
            if not goes.drop:
                break
            shown.remove(goes)
        left = room - sum(column.width + len(GAP) for column in shown) + len(GAP)
        shares = sum(column.share for column in shown) or 1
        return [(column, column.width + max(0, left) * column.share // shares) for column in shown]

    # Drawing

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        base = self.rich_style
        if y == 0:
            head = GAP.join(_cell(column.title, size, column.is_right) for column, size in self._widths)
            style = self.get_component_rich_style("rows--head")
            return Strip([Segment(head, style)]).adjust_cell_length(width, style)
        place = y - 1 + self.scroll_offset.y
        if place >= len(self._rows):
            text = self._empty if y == 1 and not self._rows else ""
            muted = self.get_component_rich_style("rows--muted")
            return Strip([Segment(text, muted)]).adjust_cell_length(width, base)
        return self._draw_row(self._rows[place], is_current=place == self.cursor).adjust_cell_length(width, base)

    def _draw_row(self, row: Row, *, is_current: bool) -> Strip:
        cursor = self.get_component_rich_style("rows--cursor") if is_current else None
        segments = []
        for number, (column, size) in enumerate(self._widths):
            look = column.look(row) if column.look else "plain"
            style = self.get_component_rich_style(f"rows--{look}")
            if cursor is not None:
                style = style + cursor
            text = _cell(column.cell(row), size, column.is_right)
            segments.append(Segment((GAP if number else "") + text, style))
        strip = Strip(segments)
        return strip.adjust_cell_length(self.size.width, cursor) if cursor is not None else strip

    # Cursor

    def watch_cursor(self, before: int, now: int) -> None:
        for place in (before, now):
            self.refresh(Region(0, place + 1 - self.scroll_offset.y, self.size.width, 1))
        self._scroll_to_cursor()
        if before != now:
            self.post_message(self.Moved(self, self.current))

    def validate_cursor(self, cursor: int) -> int:
        return max(0, min(cursor, len(self._rows) - 1))

    def _scroll_to_cursor(self) -> None:
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        elif self.cursor >= top + self._height:
            self.scroll_to(y=self.cursor - self._height + 1, animate=False, force=True)

    def action_move(self, rows: int) -> None:
        self.cursor += rows

    def action_move_page(self, direction: int) -> None:
        self.cursor += direction * max(1, self._height - 1)

    def action_move_to_end(self, direction: int) -> None:
        self.cursor = 0 if direction < 0 else len(self._rows) - 1

    def choose(self) -> None:
        """As Enter does; for a screen's own binding of Enter, so that it can say what Enter means there."""
        if self.current is not None:
            self.post_message(self.Chosen(self, self.current))

    def on_click(self, event: events.Click) -> None:
        place = event.y - 1 + self.scroll_offset.y
        if event.y == 0 or place >= len(self._rows):
            return
        if place == self.cursor:
            self.choose()
        self.cursor = place


def _cell(text: str, size: int, is_right: bool) -> str:
    """One line of exactly this many cells."""
    line = one_line(text)
    if is_right:
        line = line.rjust(size)
    fitted = set_cell_size(line, size)
    return fitted if len(line) <= size else set_cell_size(line, max(0, size - 1)) + "…"
