"""One line of words that is drawn again only when they change."""

from __future__ import annotations

from rich.segment import Segment
from textual.content import Content
from textual.strip import Strip
from textual.widget import Widget

from llmos_tui.words import one_line


class Line(Widget):
    """What doesn't fit is on the tooltip."""

    DEFAULT_CSS = """
    Line { height: 1; }
    Line.-bad { color: $error; text-style: bold; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._text = ""

    @property
    def text(self) -> str:
        return self._text

    def show(self, text: str, *, is_bad: bool = False) -> None:
        self.set_class(is_bad, "-bad")
        if (line := one_line(text)) != self._text:
            self._text = line
            self.tooltip = Content(text)  # Not markup: others may have written it.
            self.refresh()

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        text = self._text if len(self._text) <= width else self._text[: max(0, width - 1)] + "…"
        return Strip([Segment(text, self.rich_style)]).adjust_cell_length(width, self.rich_style)
