"""Screens that plugins add: what they give is shown in our frame, and what they do wrong is shown there, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from textual._context import active_message_pump
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widget import Widget

from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.widgets.error_panel import ErrorPanel


@dataclass(frozen=True, kw_only=True)
class PluginOffer:
    """One screen. create: returns a Textual widget. bindings: key -> "action" or "action: what it does", of the
    widget's own action_... methods."""

    plugin: str
    name: str
    create: Callable[[], Any]
    bindings: Mapping[str, str] = field(default_factory=dict)


class PluginBody(Widget):
    """Holds what the plugin gave, or what went wrong."""

    DEFAULT_CSS = """
    PluginBody { height: 1fr; }
    """

    def __init__(self, offer: PluginOffer) -> None:
        super().__init__()
        self.offer = offer
        self.has_failed = False

    def compose(self) -> ComposeResult:
        try:
            given = self.offer.create()
        except Exception as error:
            yield self._failed(error)
            return
        if isinstance(given, Widget):
            self._bind(given)
            yield given
        else:
            yield self._failed(TypeError(f"create() has to return a Textual widget, and returned {given!r:.100}"))

    def _bind(self, given: Widget) -> None:
        for key, told in self.offer.bindings.items():
            action, _, words = told.partition(":")
            description = words.strip() or action.replace("_", " ").capitalize()
            id = f"plugin.{self.offer.plugin}.{action.strip()}"
            binding = Binding(key, action.strip(), description, tooltip=f"{description} ({self.offer.plugin})", id=id)
            for each in Binding.make_bindings([binding]):
                given._bindings.key_to_bindings.setdefault(each.key, []).append(each)
        given.can_focus = given.can_focus or bool(self.offer.bindings)

    def _failed(self, error: BaseException) -> ErrorPanel:
        self.has_failed = True
        return ErrorPanel(
            f"The screen {self.offer.name} of the plugin {self.offer.plugin} failed",
            f"{type(error).__name__}: {error}",
            "The other screens go on. Tell the plugin's author, or disable it: plugins.disabled in config.toml.",
        )

    async def show_failure(self, error: BaseException) -> None:
        if not self.has_failed:
            panel = self._failed(error)
            await self.remove_children()
            await self.mount(panel)


class PluginScreen(LLMOSScreen):
    """The frame that all screens have, around a plugin's widget."""

    BINDING_GROUP_TITLE = "Plugin"

    def __init__(self, offer: PluginOffer, place_name: str) -> None:
        super().__init__(place_name)
        self._offer = offer

    def compose_body(self) -> ComposeResult:
        yield PluginBody(self._offer)

    def came_online(self) -> None:
        for widget in self.query(PluginBody):
            if widget.children and widget.children[0].can_focus:
                widget.children[0].focus()


def is_in_plugin() -> PluginBody | None:
    """The plugin's part of the screen that the code of this moment works for, if any."""
    pump = active_message_pump.get(None)
    while pump is not None:
        if isinstance(pump, PluginBody):
            return pump
        pump = pump._parent
    return None


def guard(body: PluginBody, error: BaseException) -> None:
    """Show it in place of the widget, as soon as its screen gets to it."""
    body.screen.call_next(body.show_failure, error)
