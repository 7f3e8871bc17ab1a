"""Screens that plugins add: what they give is shown in our frame, and what they do wrong is shown there, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from textual._context import active_message_pump
from textual.app import ComposeResult
from textual.binding import Binding
from textual.message_pump import MessagePump
from textual.widget import Widget

from llmos_tui.bindings import Key
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

    def __init__(self, offer: PluginOffer, place_name: str, failure: BaseException | None = None) -> None:
        super().__init__()
        self.offer = offer
        self.place_name = place_name
        self.own_keys: list[Key] = []
        self.BINDING_GROUP_TITLE = offer.name
        self._failure = failure

    def compose(self) -> ComposeResult:
        if self._failure is not None:
            yield self._error_panel(self._failure)
            return
        try:
            given = self.offer.create()
        except Exception as error:
            yield self._error_panel(error)
            return
        if isinstance(given, Widget):
            self._bind(given)
            yield given
        else:
            yield self._error_panel(TypeError(f"create() has to return a Textual widget, and returned {given!r:.100}"))

    def _bind(self, given: Widget) -> None:
        for key, told in self.offer.bindings.items():
            action, _, words = (part.strip() for part in told.partition(":"))
            description = words or action.replace("_", " ").capitalize()
            id = f"plugin.{self.offer.plugin}.{action}"
            binding = Binding(key, action, description, tooltip=f"{description} ({self.offer.plugin})", id=id)
            self.own_keys.append(Key(key, action, description, binding.tooltip, id, is_shown=True))
            for each in Binding.make_bindings([binding]):
                given._bindings.key_to_bindings.setdefault(each.key, []).append(each)
        given.can_focus = given.can_focus or bool(self.offer.bindings)

    def _error_panel(self, error: BaseException) -> ErrorPanel:
        return ErrorPanel(
            f"The screen {self.offer.name} of the plugin {self.offer.plugin} failed",
            f"{type(error).__name__}: {error}",
            "The other screens go on. Tell the plugin's author, or disable it: plugins.disabled in config.toml.",
        )


class PluginScreen(LLMOSScreen):
    """The frame that all screens have, around a plugin's widget."""

    BINDING_GROUP_TITLE = "Plugin"

    def __init__(self, offer: PluginOffer, place_name: str, failure: BaseException | None = None) -> None:
        """failure: shown in place of the widget."""
        super().__init__(place_name)
        self._offer = offer
        self._failure = failure

    def compose_body(self) -> ComposeResult:
        yield PluginBody(self._offer, self.place_name, self._failure)

    def came_online(self) -> None:
        for body in self.query(PluginBody):
            if body.children and body.children[0].can_focus:
                body.children[0].focus()


def plugin_behind(error: BaseException) -> PluginBody | None:
    """The plugin's part of the screen that an error comes from, if any: by who works now, else by whose code raised it,
    as drawing, actions and workers are done by others for it."""
    if (body := _body_of(active_message_pump.get(None))) is not None:
        return body
    for each in (error, error.__cause__, getattr(error, "error", None)):
        trace = each.__traceback__ if isinstance(each, BaseException) else None
        while trace is not None:
            owner = trace.tb_frame.f_locals.get("self")
            if isinstance(owner, Widget) and (body := _body_of(owner)) is not None:
                return body
            trace = trace.tb_next
    return None


def _body_of(pump: MessagePump | None) -> PluginBody | None:
    while pump is not None and not isinstance(pump, PluginBody):
        pump = pump._parent
    return pump
