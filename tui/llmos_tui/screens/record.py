"""Everything about one row, where a line has no room for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from llmos_tui.screens.dialog import Dialog


class RecordScreen(Dialog[None]):
    """Names and values, scrolled."""

    DEFAULT_CSS = """
    RecordScreen > .dialog { width: 100; }
    RecordScreen VerticalScroll { height: auto; max-height: 1fr; }
    """
    BINDING_GROUP_TITLE = "Details"

    def __init__(self, title: str, facts: Iterable[tuple[str, Any]]) -> None:
        """What isn't a text is shown as JSON."""
        super().__init__(title)
        self._facts = list(facts)

    def compose_dialog(self) -> ComposeResult:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for name, value in self._facts:
            table.add_row(Text(name), Text(in_words(value)))
        with VerticalScroll():
            yield Static(table, id="record")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


def in_words(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return msgspec.json.encode(value).decode()
