"""A part of a whole as a bar with words."""

from __future__ import annotations

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

BAR_CELLS = 20
PARTS = " ▏▎▍▌▋▊▉█"


def bar(share: float, cells: int) -> str:
    """Exact to an eighth of a cell; more than nothing is seen."""
    eighths = min(8 * cells, max(1 if share > 0 else 0, round(8 * cells * share)))
    full, rest = divmod(eighths, 8)
    return ("█" * full + (PARTS[rest] if rest else "")).ljust(cells)


class UsageBar(Widget):
    """`title ███▌      words`."""

    COMPONENT_CLASSES = {"usage--bar", "usage--bar-high", "usage--words"}
    DEFAULT_CSS = """
    UsageBar { height: 1; }
    UsageBar .usage--bar { color: $chart-in; background: $panel; }
    UsageBar .usage--bar-high { color: $warning; background: $panel; }
    UsageBar .usage--words { color: $foreground; }
    """
    HIGH = 0.9

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = title
        self._shown: tuple[float, str] = (0.0, "")

    def show(self, share: float, words: str) -> None:
        """share: 0 to 1."""
        if (share, words) != self._shown:
            self._shown = (share, words)
            self.refresh()

    def render_line(self, y: int) -> Strip:
        share, words = self._shown
        style = self.get_component_rich_style("usage--words")
        cells = max(4, min(BAR_CELLS, self.size.width // 4))
        look = self.get_component_rich_style("usage--bar-high" if share >= self.HIGH else "usage--bar")
        parts = [Segment(f"{self._title} ", style), Segment(bar(share, cells), look), Segment(f" {words}", style)]
        return Strip(parts).adjust_cell_length(self.size.width, self.rich_style)
