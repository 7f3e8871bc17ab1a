"""The line on top: all screens with their keys, and the server's state."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Static

from llmos_tui.connection import Connection, State

SIGNS = {
    State.CONNECTING: ("…", "connecting"),
    State.ONLINE: ("●", "online"),
    State.LOST: ("○", "no connection"),
    State.UNAUTHORISED: ("✗", "key refused"),
    State.UNUSABLE: ("✗", "not usable"),
}


class PlaceTab(Static):
    """One screen's name and key; a click shows it."""

    DEFAULT_CSS = """
    PlaceTab { width: auto; padding: 0 0 0 1; color: $text-muted; }
    PlaceTab:hover { color: $foreground; background: $boost; }
    PlaceTab.-current { color: $foreground; text-style: bold reverse; padding: 0 1; }
    """

    def __init__(self, name: str, key: str, title: str, tooltip: str) -> None:
        super().__init__(f"{key} {title}", markup=False)
        self.place_name = name
        self.tooltip = Content(tooltip)

    async def on_click(self) -> None:
        await self.app.run_action(f"app.show_place('{self.place_name}')")


class ServerState(Static):
    """Sign and word; narrow terminals show the sign alone."""

    DEFAULT_CSS = """
    ServerState { width: auto; dock: right; padding: 0 1; color: $success; background: $panel; }
    ServerState.-bad { color: $error; text-style: bold; }
    """


class PlaceTabs(Horizontal):
    """All tabs."""

    DEFAULT_CSS = """
    PlaceTabs { height: 1; background: $panel; overflow: hidden hidden; }
    """

    def __init__(self, tabs: list[tuple[str, str, str, str]], current: str, root: str) -> None:
        """tabs: (name, key, title, tooltip)."""
        super().__init__()
        self._tabs = tabs
        self._current = current
        self._root = root
        self._state = ServerState("", markup=False)
        self._connection = Connection(State.CONNECTING)

    def compose(self) -> ComposeResult:
        for name, key, title, tooltip in self._tabs:
            tab = PlaceTab(name, key, title, tooltip)
            tab.set_class(name == self._current, "-current")
            yield tab
        yield self._state

    def show(self, connection: Connection) -> None:
        self._connection = connection
        self._show_state()

    def on_resize(self) -> None:
        self._show_state()

    def _show_state(self) -> None:
        connection = self._connection
        sign, word = SIGNS[connection.state]
        self._state.set_class(not connection.is_online, "-bad")
        is_wide = self.app.size.width >= 110
        self._state.update(f"{word} {self._root.partition('://')[2]} {sign}" if is_wide else sign)
        self._state.tooltip = Content(f"{word}: {self._root}")
