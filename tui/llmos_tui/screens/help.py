"""`?`: all keys of a screen, made from the bindings themselves."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.screen import Screen
from textual.widgets import Static

from llmos_tui.bindings import Key, keys_on
from llmos_tui.screens.dialog import Dialog


class HelpScreen(Dialog[None]):
    """What can be done on the screen below it."""

    DEFAULT_CSS = """
    HelpScreen > .dialog { width: 90; }
    HelpScreen VerticalScroll { height: auto; max-height: 1fr; }
    """
    BINDING_GROUP_TITLE = "Help"

    def __init__(self, below: Screen[object]) -> None:
        super().__init__("Keys")
        self._below = below

    def compose_dialog(self) -> ComposeResult:
        with VerticalScroll():
            yield Static(_tables(self._below))

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


def _tables(below: Screen[object]) -> Table:
    nodes: list[DOMNode] = [below, *below.query("*"), below.app]
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for title, keys in keys_on(nodes):
        table.add_row(Text(title, style="bold underline"), "", "")
        for key in keys:
            table.add_row(*_row(key))
        table.add_row("", "", "")
    table.add_row("ctrl+p", "Palette", "All screens, actions and themes by name")
    table.add_row("tab", "Next field", "shift+tab goes back; esc leaves a field, so that keys are keys again")
    table.add_row("mouse", "", "Tabs, rows, buttons and the keys in the footer can be clicked")
    return table


def _row(key: Key) -> tuple[Text, Text, Text]:
    return Text(key.shown, style="bold"), Text(key.description), Text(key.tooltip)
