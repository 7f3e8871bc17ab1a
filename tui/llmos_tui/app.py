"""The program: one connection, its screens, keys that hold everywhere, themes and the palette."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.actions import ActionParseResult
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.events import Event
from textual.markup import escape
from textual.screen import Screen

from llmos_tui.alt_keys import let_alt_digits_be, without_character
from llmos_tui.client import Client
from llmos_tui.connection import Connection, State, Watch
from llmos_tui.plugin_screens import PluginBody, PluginOffer, PluginScreen, plugin_behind
from llmos_tui.preferences import load_preferences, save_preferences
from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.catalogue import PLACES, Place, plugin_places
from llmos_tui.screens.chat.screen import ChatScreen
from llmos_tui.screens.help import HelpScreen
from llmos_tui.screens.start_server import StartServerScreen
from llmos_tui.starting import LocalServer
from llmos_tui.themes import THEMES

PARENT_SECONDS = 2.0
"""Between two looks whether the web server still lives."""

SCREENS_GROUP = Binding.Group("Screens", compact=True)


def _place_binding(place: Place) -> Binding:
    return Binding(
        f"{place.key},alt+{place.key}",
        f"show_place('{place.name}')",
        place.title,
        key_display=place.key,
        tooltip=f"{place.title}: {place.purpose}",
        id=f"app.show-{place.name}",
        group=SCREENS_GROUP,
    )


def _command(title: str, help: str, run: Callable[[], Any]) -> SystemCommand:
    """The palette takes words for markup, and a plugin's may have brackets."""
    return SystemCommand(escape(title), escape(help), run)


def _name_of_failed(name: str) -> str:
    return f"{name}-failed"


class LLMOSApp(App[None]):
    """Everything that the terminal interface is. It needs a client and knows nothing of where the server is."""

    TITLE = "LLMOS"
    BINDING_GROUP_TITLE = "Everywhere"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-medium"), (170, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]
    BINDINGS: ClassVar[list[BindingType]] = [
        *map(_place_binding, PLACES),
        Binding(
            "9,alt+9",
            "next_plugin_place",
            "Plugins",
            key_display="9",
            tooltip="The screens of plugins, one after the other",
            id="app.plugins",
            group=SCREENS_GROUP,
        ),
        Binding("question_mark,f1", "help", "Help", key_display="?", tooltip="All keys of this screen", id="app.help"),
        Binding("t", "next_theme", "Theme", tooltip="Dark, light, high contrast; remembered", id="app.theme"),
        Binding("r", "reconnect", "Retry", tooltip="Look for the server now", id="app.reconnect"),
        Binding("q,ctrl+q", "quit", "Quit", tooltip="Leave; the server goes on", id="app.quit"),
    ]

    DEFAULT_CSS = """
    LLMOSApp { & TextArea .text-area--placeholder, & Input > .input--placeholder { color: $text-muted; } }
    """

    def __init__(
        self,
        client: Client,
        *,
        preferences: Path | None = None,
        local_server: LocalServer | None = None,
        plugin_screens: Sequence[PluginOffer] = (),
        first: str = PLACES[0].name,
        interval: float = 1.0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """local_server: offered where none answers. first: the place that is shown at the start. interval: seconds
        between two updates of what is live. clock: Unix seconds; None takes the server's time, so that a wrong clock
        here shows no wrong ages."""
        super().__init__()
        let_alt_digits_be()
        self.client = client
        self._first = first
        self.interval = interval
        self.clock = clock
        self._preferences_path = preferences
        self._preferences = load_preferences(preferences)
        self._local_server = local_server
        self.watch_server = Watch(client, self._connection_changed)
        self.places: tuple[Place, ...] = (*PLACES, *plugin_places(plugin_screens))
        self._failed: set[str] = set()
        """Places of plugins' screens that raised."""
        for place in self.places:
            self.install_screen(place.create, name=place.name)  # type: ignore[arg-type]

    @property
    def connection(self) -> Connection:
        return self.watch_server.connection

    def on_mount(self) -> None:
        for theme in THEMES:
            self.register_theme(theme)
        known = {theme.name for theme in THEMES}
        self.theme = self._preferences.theme if self._preferences.theme in known else THEMES[0].name
        self.push_screen(self._first)
        self.run_worker(self.watch_server.run(), group="watch", exit_on_error=True)
        if self.is_web:
            self._web_server = os.getppid()
            self.set_interval(PARENT_SECONDS, self._leave_with_parent)

    def _leave_with_parent(self) -> None:
        """In a browser the terminal is the web server's child; nobody sees it any more when that is gone."""
        if os.getppid() != self._web_server:
            self.exit()

    async def on_unmount(self) -> None:
        self.workers.cancel_all()  # Who asks a client that was closed gets an error.
        await self.client.close()

    async def on_event(self, event: Event) -> None:
        await super().on_event(without_character(event))

    # Connection

    def _connection_changed(self, connection: Connection) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, LLMOSScreen):
                screen.connection_changed(connection)
        if connection.is_online:
            self._local_server = None  # Who loses a server that was there wants that one back.
        elif connection.state is State.LOST and self._local_server is not None:
            server, self._local_server = self._local_server, None  # Offered once.
            self.push_screen(StartServerScreen(server, self.client, connection.reason), self._after_start)

    def _after_start(self, has_started: bool | None) -> None:
        if has_started:
            self.watch_server.doubt()

    def action_reconnect(self) -> None:
        self.watch_server.doubt()

    # Screens

    def action_show_place(self, name: str) -> None:
        """From a dialog the keys of screens don't lead away: it wants its answer first."""
        if self.screen.is_modal or getattr(self.screen, "place_name", None) == name:
            return
        self.switch_screen(_name_of_failed(name) if name in self._failed else name)

    def chat_with(self, model: str) -> None:
        """For screens that lead to a chat."""
        screen = self.get_screen("chat")
        assert isinstance(screen, ChatScreen)
        screen.talk_to(model)
        self.action_show_place("chat")

    def action_next_plugin_place(self) -> None:
        names = [place.name for place in self.places if place.is_plugin]
        current = getattr(self.screen, "place_name", None)
        place = names.index(current) + 1 if current in names else 0
        self.action_show_place(names[place % len(names)])

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "next_plugin_place":
            return any(place.is_plugin for place in self.places)
        if action == "reconnect":
            return not self.connection.is_online
        return True

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    # Themes

    def action_next_theme(self) -> None:
        names = [theme.name for theme in THEMES]
        place = names.index(self.theme) if self.theme in names else -1
        self.action_choose_theme(names[(place + 1) % len(names)])

    def action_choose_theme(self, name: str) -> None:
        self.theme = self._preferences.theme = name
        try:
            save_preferences(self._preferences_path, self._preferences)
        except OSError as error:
            self.notify(f"The theme can't be remembered: {error}", severity="warning", markup=False)

    # Palette

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """All screens, all actions that can be done now, all themes."""
        for place in self.places:
            yield _command(place.title, place.purpose, partial(self.action_show_place, place.name))
        seen = set()
        for node, binding, is_enabled, tooltip in screen.active_bindings.values():
            of_library = not binding.id
            if of_library or not is_enabled or binding.action in seen or binding.action.startswith("show_place"):
                continue
            seen.add(binding.action)
            run = partial(self.run_action, binding.action, node)
            yield _command(binding.description, tooltip or binding.tooltip, run)
        for theme in THEMES:
            kind = theme.name.removeprefix("llmos-")
            yield SystemCommand(f"Theme: {kind}", "Colours", partial(self.action_choose_theme, theme.name))

    # Plugins

    def _handle_exception(self, error: Exception) -> None:
        """A plugin's screen that fails is shown as failed; all else ends the program, as it should."""
        if (body := plugin_behind(error)) is not None:
            self._replace_plugin_screen(body, error)
            return
        super()._handle_exception(error)

    async def run_action(
        self, action: str | ActionParseResult, default_namespace: DOMNode | None = None, namespaces: Any = None
    ) -> bool:
        """Actions run in the program's own loop, which one that raises would end."""
        try:
            return await super().run_action(action, default_namespace, namespaces)
        except Exception as error:
            if (body := plugin_behind(error)) is None:
                raise
            self._replace_plugin_screen(body, error)
            return True

    def _replace_plugin_screen(self, body: PluginBody, error: Exception) -> None:
        """By one that tells the failure: the loops of what raised have ended, the screen's own maybe among them."""
        name = body.place_name
        if name in self._failed:
            return
        self._failed.add(name)
        self.install_screen(PluginScreen(body.offer, name, error), name=_name_of_failed(name))
        if getattr(self.screen, "place_name", None) == name:
            self.switch_screen(_name_of_failed(name))
