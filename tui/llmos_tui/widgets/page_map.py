"""The pages of a KV cache: one cell a page, or where there are more pages than cells, one cell for some of them."""

from __future__ import annotations

from itertools import groupby

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from llmos_tui.wire.live import Pages

KINDS = {"s": ("shared", "▚"), "u": ("used", "█"), "c": ("cached", "▒"), ".": ("free", "·"), "-": ("lent", " ")}
"""Letter -> its name and its sign: colours alone would leave some people out. Of equally many, the first wins."""


def scaled(pages: str, cells: int) -> tuple[str, int]:
    """(a letter a cell, pages a cell): what most of a cell's pages are."""
    if cells < 1 or not pages:
        return "", 1
    step = -(-len(pages) // cells)
    if step == 1:
        return pages, 1
    parts = (pages[start : start + step] for start in range(0, len(pages), step))
    return "".join(max(KINDS, key=part.count) for part in parts), step


class PageMapView(Widget):
    """Cells, and a legend with counts under them."""

    COMPONENT_CLASSES = {f"page-map--{name}" for name, _ in KINDS.values()} | {"page-map--words"}
    DEFAULT_CSS = """
    PageMapView { height: 1fr; min-height: 2; }
    PageMapView .page-map--shared { color: $page-shared; }
    PageMapView .page-map--used { color: $page-used; }
    PageMapView .page-map--cached { color: $page-cached; }
    PageMapView .page-map--free { color: $page-free; }
    PageMapView .page-map--lent { color: $page-free; }
    PageMapView .page-map--words { color: $foreground; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._pages: Pages | None = None
        self._map = ""
        self._why_none = ""
        self._drawn: list[list[tuple[str, str]]] = []

    def show(self, pages: Pages | None, map: str, why_none: str = "") -> None:
        """map: letters; without one the counts alone are shown. why_none: told where a model has no pages."""
        if (pages, map, why_none) == (self._pages, self._map, self._why_none):
            return
        self._pages, self._map, self._why_none = pages, map, why_none
        lines = self._lines()
        if lines != self._drawn:
            self._drawn = lines
            self.refresh()

    def on_resize(self) -> None:
        self._drawn = self._lines()
        self.refresh()

    def _lines(self) -> list[list[tuple[str, str]]]:
        """Of (component, text)."""
        if self._pages is None:
            return [[("words", self._why_none)]]
        width, height = self.size.width, self.size.height - 1
        cells, step = scaled(self._map, width * height)
        num_lent = self._map.count("-")
        lines = [_styled(cells[start : start + width]) for start in range(0, len(cells), max(1, width))]
        if not lines:
            lines = [[("words", "The map of pages has not come yet.")]]
        return [*lines, self._legend(self._pages, step, num_lent)]

    @staticmethod
    def _legend(pages: Pages, step: int, num_lent: int) -> list[tuple[str, str]]:
        """num_lent: pages whose memory was given back, for a job."""
        counts = {"s": pages.num_shared, "u": pages.num_used, "c": pages.num_cached, ".": pages.num_free}
        line = [("words", f"{pages.num_pages} pages ")]
        for letter, count in counts.items():
            name, sign = KINDS[letter]
            line += [(name, sign), ("words", f" {count} {name}  ")]
        if num_lent:
            line.append(("words", f"and {num_lent} lent  "))
        scale = (f"{step} a cell, " if step > 1 else "") + f"{pages.page_size} tokens each"
        return [*line, ("words", scale)]

    def render_line(self, y: int) -> Strip:
        parts = self._drawn[y] if y < len(self._drawn) else []
        segments = [Segment(text, self.get_component_rich_style(f"page-map--{name}")) for name, text in parts]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)


def _styled(cells: str) -> list[tuple[str, str]]:
    runs = ((letter, sum(1 for _ in run)) for letter, run in groupby(cells))
    return [(KINDS[letter][0], KINDS[letter][1] * length) for letter, length in runs if letter in KINDS]
