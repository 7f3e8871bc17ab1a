"""Pulls that run or have just ended, each as a line with a bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from llmos_tui import words
from llmos_tui.widgets.usage_bar import bar
from llmos_tui.wire.models import PullEvent

BAR_CELLS = 16
MAX_LINES = 6


@dataclass
class Pull:
    """What is known of one."""

    name: str
    clock: Callable[[], float] = time.monotonic
    text: str = "asked for"
    label: str = ""
    done: int = 0
    total: int | None = None
    end: str = ""
    """"done" or "failed"."""
    _since: float = field(default=0.0, init=False)
    _first: int = field(default=0, init=False)

    def take(self, event: PullEvent) -> None:
        if event.label is not None and event.done is not None:
            if event.label != self.label:
                self.label, self._since, self._first = event.label, self.clock(), event.done
            self.done, self.total = event.done, event.total
        elif event.text is not None:
            self.text, self.label, self.total = event.text, "", None
        if event.model is not None:
            self.finish("done", f"is here: {words.size(event.model.size_bytes)}")

    def finish(self, end: str, text: str) -> None:
        self.end, self.text, self.label, self.total = end, text, "", None

    @property
    def rate(self) -> float | None:
        """Bytes a second of this transfer; None in its first moments."""
        seconds = self.clock() - self._since
        return (self.done - self._first) / seconds if self.label and seconds >= 0.5 else None

    def words(self) -> str:
        if not self.label:
            return self.text
        of = f" of {words.size(self.total)}, {words.share(self.done, self.total)}" if self.total else ""
        rate = f", {words.size(self.rate)}/s" if self.rate else ""
        left = f", {words.age((self.total - self.done) / self.rate)} left" if self.rate and self.total else ""
        return f"{self.label}: {words.size(self.done)}{of}{rate}{left}"


class PullPanel(Widget):
    """Takes room only while there are any."""

    COMPONENT_CLASSES = {"pull--name", "pull--bar", "pull--done", "pull--failed"}
    DEFAULT_CSS = """
    PullPanel { height: auto; max-height: 6; background: $surface; }
    PullPanel .pull--name { text-style: bold; }
    PullPanel .pull--bar { color: $chart-in; background: $panel; }
    PullPanel .pull--done { color: $success; }
    PullPanel .pull--failed { color: $error; }
    """

    def __init__(self) -> None:
        super().__init__(id="pulls")
        self._pulls: list[Pull] = []

    @property
    def pulls(self) -> list[Pull]:
        """Oldest first."""
        return self._pulls

    def find(self, name: str) -> Pull | None:
        """One that still runs."""
        return next((pull for pull in self._pulls if pull.name == name and not pull.end), None)

    def begin(self, name: str) -> Pull:
        """Those that have ended make room."""
        self._pulls = [*(pull for pull in self._pulls if not pull.end), Pull(name)]
        self.refresh(layout=True)
        return self._pulls[-1]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return min(MAX_LINES, len(self._pulls))

    def render_line(self, y: int) -> Strip:
        shown = self._pulls[-MAX_LINES:]
        if y >= len(shown):
            return Strip.blank(self.size.width, self.rich_style)
        if y == 0 and len(self._pulls) > MAX_LINES:
            more = f"{len(self._pulls) - MAX_LINES + 1} others: screen 6 has all of them"
            return Strip([Segment(more, self.rich_style)]).adjust_cell_length(self.size.width, self.rich_style)
        pull = shown[y]
        segments = [Segment(f"{words.one_line(pull.name)}  ", self.get_component_rich_style("pull--name"))]
        if pull.total:
            cells = bar(pull.done / pull.total, BAR_CELLS)
            segments.append(Segment(cells, self.get_component_rich_style("pull--bar")))
            segments.append(Segment("  "))
        style = self.get_component_rich_style(f"pull--{pull.end}") if pull.end else None
        segments.append(Segment(words.one_line(pull.words()), style))
        return Strip(segments).apply_style(self.rich_style).adjust_cell_length(self.size.width, self.rich_style)
