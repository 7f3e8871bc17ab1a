"""Lines of the log as a list in which what is searched stands out."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from llmos_tui.log_lines import fields_text
from llmos_tui.widgets.rows import Column, Look, Rows
from llmos_tui.wire.logs import LogLine

LOOKS: dict[str, Look] = {"debug": "muted", "warning": "warn", "error": "bad", "critical": "bad"}


def clock(time: float | None) -> str:
    """14:13:20.125, UTC."""
    return "" if time is None else datetime.fromtimestamp(time, UTC).strftime("%H:%M:%S.%f")[:-3]


def look(line: LogLine) -> Look:
    """Of its level."""
    return LOOKS.get(line.level, "plain")


COLUMNS: tuple[Column[LogLine], ...] = (
    Column("TIME (UTC)", lambda line: clock(line.time), 12, look=lambda line: "muted"),
    Column("LEVEL", lambda line: line.level, 8, look=look),
    Column("EVENT", lambda line: line.event, 18, share=1, look=look),
    Column("FIELDS", fields_text, 20, share=3),
)


class LogTable(Rows[LogLine]):
    """A hundred thousand lines are as quick as ten: only those that can be seen are drawn."""

    COMPONENT_CLASSES = {"log--found"}
    DEFAULT_CSS = """
    LogTable .log--found { color: $background; background: $warning; text-style: bold; }
    """

    def __init__(self) -> None:
        super().__init__(COLUMNS, lambda line: line.cursor or id(line), "The log has no such lines.", id="log")
        self._searched: re.Pattern[str] | None = None

    def mark(self, text: str) -> None:
        """What stands out from now on; "" is nothing."""
        self._searched = re.compile(re.escape(text), re.IGNORECASE) if text else None
        self.refresh()

    def _draw_row(self, row: LogLine, *, is_current: bool) -> Strip:
        strip = super()._draw_row(row, is_current=is_current)
        if self._searched is None:
            return strip
        style = self.get_component_rich_style("log--found")
        text, parts, done = strip.text, [], 0
        for found in self._searched.finditer(text):
            start, end = (cell_len(text[:place]) for place in found.span())
            shown = Segment.apply_style(strip.crop(start, end), post_style=style)
            parts += [strip.crop(done, start), Strip(shown)]
            done = end
        return Strip.join([*parts, strip.crop(done)])
