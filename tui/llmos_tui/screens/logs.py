"""The server's log: filtered by the server, followed, searched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Label

from llmos_tui import words
from llmos_tui.calls.logs import LogFilter, follow_lines, get_page
from llmos_tui.client import Client, Refused
from llmos_tui.feeds import Feed
from llmos_tui.log_lines import MAX_LINES, LogLines
from llmos_tui.messages import LogGrew
from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.record import RecordScreen
from llmos_tui.widgets.field import Field
from llmos_tui.widgets.line import Line
from llmos_tui.widgets.log_table import LogTable
from llmos_tui.widgets.rows import Rows
from llmos_tui.wire.logs import LogGap, LogLine, LogPage

LEVELS = ("", "info", "warning", "error")
MAX_EMPTY_PAGES = 20
"""Older pages without a line that is wanted, until the user has to ask again."""


class LogsScreen(LLMOSScreen):
    """The cursor on the last line follows what comes; the first line brings older ones."""

    DEFAULT_CSS = """
    LogsScreen #log-fields { height: 1; background: $panel; }
    LogsScreen #log-fields Label { color: $text-muted; padding: 0 0 0 1; }
    LogsScreen #log-fields Field { width: 1fr; }
    LogsScreen #log-state { background: $surface; color: $text-muted; }
    """
    BINDING_GROUP_TITLE = "Logs"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "Whole line", tooltip="All fields of this line", id="logs.inspect"),
        Binding("f", "toggle_follow", "Follow", tooltip="Stay at the end, or where the cursor is", id="logs.follow"),
        Binding("l", "next_level", "Level", tooltip="The least level: all, info, warning, error", id="logs.level"),
        Binding("c", "edit('contains')", "Filter", tooltip="Only lines that contain a text", id="logs.filter"),
        Binding("slash", "edit('search')", "Search", key_display="/", tooltip="Find a text here", id="logs.search"),
        Binding("n", "find(1)", "Next", tooltip="The next line that was searched", id="logs.next"),
        Binding("N", "find(-1)", "Before", tooltip="The one before", id="logs.before"),
        Binding("o", "older", "Older", tooltip="More lines from before the first", id="logs.older"),
    ]

    def __init__(self, place_name: str = "logs") -> None:
        super().__init__(place_name)
        self._lines = LogLines()
        self._wanted = LogFilter()
        self._follows = True
        self._is_looking_back = False
        self._state = ""

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="log-fields"):
            yield Label("contains")
            yield Field(placeholder="everything (c)", id="contains", max_length=200)
            yield Label("search")
            yield Field(placeholder="nothing (/)", id="search", max_length=200)
        yield LogTable()
        yield Line(id="log-state")

    @property
    def table(self) -> LogTable:
        return self.query_one(LogTable)

    def on_mount(self) -> None:
        super().on_mount()
        self.table.focus()

    # What comes

    def feeds(self) -> Iterable[Feed]:
        yield Feed(self._open, self._take)

    async def _open(self, client: Client) -> AsyncIterator[LogPage | LogLine | LogGap]:
        """Goes on after the newest line; where the server doesn't know that place any more, from its end."""
        wanted = self._wanted
        after = self._lines.last_cursor
        if after is not None:
            try:
                async for news in follow_lines(client, wanted, after):
                    yield news
                return
            except Refused as error:
                if error.status != 400:
                    raise
        page = await get_page(client, wanted)
        yield page
        async for news in follow_lines(client, wanted, page.end):
            yield news

    def _take(self, news: LogPage | LogLine | LogGap) -> Message:
        if isinstance(news, LogPage):
            self._lines.start(news)
        else:
            self._lines.add(news)
        return LogGrew()

    def on_log_grew(self, message: LogGrew) -> None:
        self.table.show(self._lines.view)
        if self._follows:
            self.table.action_move_to_end(1)
        self._show_state()

    def on_rows_moved(self, message: Rows.Moved) -> None:
        follows = self.table.cursor >= len(self._lines) - 1
        if follows != self._follows:
            self._follows = follows
            self._show_state()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        self._inspect(message.row)

    def _show_state(self) -> None:
        parts = [
            f"{len(self._lines):,} lines",
            "following" if self._follows else "standing still (f follows)",
            f"level {self._wanted.level} and above" if self._wanted.level else "all levels",
            self._state or self._beginning(),
        ]
        self.query_one("#log-state", Line).show(" · ".join(parts))

    def _beginning(self) -> str:
        if len(self._lines) >= MAX_LINES:
            return "no room for older ones"
        return "more before these (o)" if self._lines.before else "from the log's beginning"

    # Keys

    def action_inspect(self) -> None:
        self.table.choose()

    def _inspect(self, line: LogLine) -> None:
        when = words.moment(line.time) + (" UTC" if line.time is not None else "")
        facts = [("time", when), ("level", line.level or "-"), ("event", line.event), *line.fields.items()]
        self.app.push_screen(RecordScreen("A line of the log", facts))

    def action_toggle_follow(self) -> None:
        self._follows = not self._follows
        if self._follows:
            self.table.action_move_to_end(1)
        self._show_state()

    def action_next_level(self) -> None:
        level = LEVELS[(LEVELS.index(self._wanted.level) + 1) % len(LEVELS)]
        self._ask_for(LogFilter(level, self._wanted.contains))

    def action_edit(self, field: str) -> None:
        self.query_one(f"#{field}", Field).focus()

    def on_field_left(self, message: Field.Left) -> None:
        self.table.focus()

    def on_input_submitted(self, message: Field.Submitted) -> None:
        self.table.focus()
        if message.input.id == "contains":
            self._ask_for(LogFilter(self._wanted.level, message.value))
        else:
            self.table.mark(message.value)
            if message.value:
                self.action_find(-1)

    def _ask_for(self, wanted: LogFilter) -> None:
        self._wanted = wanted
        self._lines = LogLines()
        self._follows, self._state = True, ""
        self.table.show(self._lines.view)
        self._show_state()
        self.restart_feeds()

    def action_find(self, step: int) -> None:
        text = self.query_one("#search", Field).value
        if not text:
            self.action_edit("search")
            return
        place = self._lines.find(text, self.table.cursor, step)
        if place is None:
            self.notify(f"No line here has {text!r}. Older ones may: o fetches them.", markup=False)
        else:
            self._follows = False
            self.table.cursor = place

    # Older lines

    def action_older(self) -> None:
        if self._lines.before is not None and not self._is_looking_back:
            self.run_worker(self._fetch_older())

    async def _fetch_older(self) -> None:
        lines, self._is_looking_back = self._lines, True
        try:
            for _ in range(MAX_EMPTY_PAGES):
                before = lines.before
                if before is None or lines is not self._lines:
                    return
                self._state = "looking further back ..."
                self._show_state()
                page = await self.ask(get_page(self.client, self._wanted, before))
                if page is None:
                    return
                count = lines.add_older(page)
                if count and lines is self._lines:
                    self._show_older(count)
                    return
        finally:
            self._is_looking_back, self._state = False, ""
            self._show_state()

    def _show_older(self, count: int) -> None:
        """The cursor goes to the newest of them."""
        self._follows = False
        self.table.show(self._lines.view)
        self.table.cursor = count - 1
