"""The footer: all keys of the moment, on as many lines as they need."""

from __future__ import annotations

from itertools import groupby

from textual import events
from textual.app import ComposeResult
from textual.binding import ActiveBinding
from textual.containers import HorizontalGroup
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer
from textual.widgets._footer import FooterKey, FooterLabel


class KeyRow(HorizontalGroup):
    """One line of it."""


class KeyBar(Footer):
    """Textual's footer, wrapped: a screen's keys don't fit one line of 80 columns, and a key unseen is none."""

    DEFAULT_CSS = """
    KeyBar { layout: vertical; height: auto; max-height: 4; }
    KeyBar KeyRow { height: 1; width: 100%; }
    KeyBar FooterKey.-in-group { margin: 0; }
    KeyBar.-compact FooterLabel { margin: 0 2 0 1; }
    """

    def __init__(self) -> None:
        super().__init__(compact=True, show_command_palette=False)
        self._drawn_width = 0
        self._drawn_keys: list[tuple[str, bool]] = []

    def bindings_changed(self, screen: Screen[object]) -> None:
        """Told at each change of the focus, which is most often one without other keys."""
        self._bindings_ready = True
        if screen.app.app_focus and self.is_attached and screen is self.screen:
            self.call_after_refresh(self._draw_changes)

    async def _draw_changes(self) -> None:
        if self.is_attached and self._keys() != self._drawn_keys:
            await self.recompose()

    def _keys(self) -> list[tuple[str, bool]]:
        actives = self.screen.active_bindings.values()
        return [(active.binding.id or "", active.enabled) for active in actives if active.binding.show]

    def compose(self) -> ComposeResult:
        if not self._bindings_ready:
            return
        self._drawn_keys = self._keys()
        self._drawn_width = self.app.size.width
        rows: list[list[Widget]] = [[]]
        room = self._drawn_width
        for parts, width in self._units():
            if width > room and rows[-1]:
                rows.append([])
                room = self._drawn_width
            rows[-1] += parts
            room -= width
        for row in rows:
            yield KeyRow(*row)

    def _units(self) -> list[tuple[list[Widget], int]]:
        """(widgets that stay together, cells that they take); those of the screen first, as they change."""
        first_of_action: dict[str, ActiveBinding] = {}
        for active in self.screen.active_bindings.values():
            if active.binding.show and active.binding.id:
                known = first_of_action.get(active.binding.action)
                if known is None or self._length(active) < self._length(known):
                    first_of_action[active.binding.action] = active
        units: list[tuple[list[Widget], int]] = []
        for group, actives in groupby(first_of_action.values(), lambda active: active.binding.group):
            keys = [self._key(active, has_words=group is None) for active in actives]
            if group is None:
                units += [([key], len(key.key_display) + len(key.description) + 2) for key in keys]
            else:
                width = sum(len(key.key_display) for key in keys) + len(group.description) + 2
                units.append(([*keys, FooterLabel(group.description)], width + 1))
        return units

    def _key(self, active: ActiveBinding, *, has_words: bool) -> FooterKey:
        binding = active.binding
        key = FooterKey(
            binding.key,
            self.app.get_key_display(binding),
            binding.description if has_words else "",
            binding.action,
            disabled=not active.enabled,
            tooltip=active.tooltip or binding.description,
            classes="-compact" if has_words else "-compact -in-group",
        )
        key.set_reactive(FooterKey.compact, True)
        return key

    def _length(self, active: ActiveBinding) -> int:
        """Of several keys for one action the shortest is shown."""
        return len(self.app.get_key_display(active.binding))

    def on_resize(self, event: events.Resize) -> None:
        if event.size.width != self._drawn_width:
            self.call_after_refresh(self.recompose)
