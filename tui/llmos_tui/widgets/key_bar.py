"""The footer: all keys of the moment, on as many lines as they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.binding import ActiveBinding, Binding
from textual.content import Content
from textual.geometry import Region, Size
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

GAP = 2
"""Cells between two keys."""


@dataclass(frozen=True)
class Part:
    """A key, its words, or both; parts of a group stand close together, its words behind them."""

    shown: str = ""
    words: str = ""
    key: str = ""
    """What a click presses; "" for words that are of several keys."""
    action: str = ""
    tooltip: str = ""
    is_enabled: bool = True

    @property
    def width(self) -> int:
        return cell_len(self.shown) + (1 if self.shown and self.words else 0) + cell_len(self.words)


@dataclass(frozen=True)
class Place:
    """Where a part is drawn, in cells of the footer."""

    part: Part
    region: Region


def arranged(units: Sequence[Sequence[Part]], width: int) -> list[Place]:
    """Units, which stay together, one behind the other, on a new line where one doesn't fit any more."""
    places: list[Place] = []
    x = y = 0
    for parts in units:
        total = sum(part.width for part in parts) + (1 if len(parts) > 1 else 0)
        if x and x + total > width:
            x, y = 0, y + 1
        for part in parts:
            if part.words and not part.shown and len(parts) > 1:
                x += 1
            places.append(Place(part, Region(x, y, part.width, 1)))
            x += part.width
        x += GAP
    return places


class KeyBar(Widget, can_focus=False):
    """One widget that draws them all: a widget for each key would be made anew whenever one is added."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {"key-bar--key", "key-bar--words", "key-bar--off"}
    DEFAULT_CSS = """
    KeyBar { dock: bottom; height: auto; max-height: 4; background: $panel; }
    KeyBar .key-bar--key { color: $accent; text-style: bold; }
    KeyBar .key-bar--words { color: $foreground; }
    KeyBar .key-bar--off { color: $text-disabled; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._units: list[list[Part]] = []
        self._told = ""

    @property
    def places(self) -> list[Place]:
        """All parts, where they are now."""
        return arranged(self._units, max(1, self.size.width or self.app.size.width))

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._bindings_changed)
        self.call_after_refresh(self._look)

    def on_unmount(self) -> None:
        self.screen.bindings_updated_signal.unsubscribe(self)

    def _bindings_changed(self, screen: Screen[object]) -> None:
        if self.is_attached and screen is self.screen and screen.app.app_focus:
            self._look()

    def _look(self) -> None:
        units = units_of(self.screen.active_bindings.values(), self.app.get_key_display) if self.is_attached else []
        if units != self._units:
            self._units = units
            self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max((place.region.bottom for place in arranged(self._units, width)), default=1)

    def render_line(self, y: int) -> Strip:
        segments: list[Segment] = []
        x = 0
        for place in self.places:
            if place.region.y != y:
                continue
            segments.append(Segment(" " * (place.region.x - x), self.rich_style))
            segments += self._drawn(place.part)
            x = place.region.right
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)

    def _drawn(self, part: Part) -> list[Segment]:
        key, words = ("key", "words") if part.is_enabled else ("off", "off")
        gap = " " if part.shown and part.words else ""
        return [
            Segment(part.shown, self.get_component_rich_style(f"key-bar--{key}")),
            Segment(gap + part.words, self.get_component_rich_style(f"key-bar--{words}")),
        ]

    def _at(self, x: int, y: int) -> Part | None:
        return next((place.part for place in self.places if place.region.contains(x, y)), None)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        part = self._at(event.x, event.y)
        told = part.tooltip if part is not None else ""
        if told != self._told:
            self._told = told
            self.tooltip = Content(told) if told else None  # Not markup: a plugin may have written it.

    def on_click(self, event: events.Click) -> None:
        part = self._at(event.x, event.y)
        if part is None or not part.key:
            return
        if part.is_enabled:
            self.app.simulate_key(part.key)
        else:
            self.app.bell()


def units_of(actives: Iterable[ActiveBinding], display: Callable[[Binding], str]) -> list[list[Part]]:
    """Of all bindings that are ours: a library's have no id. Of several keys for one action the shortest is shown."""
    best: dict[str, tuple[Part, Binding.Group | None]] = {}
    for active in actives:
        binding = active.binding
        if not (binding.show and binding.id):
            continue
        part = Part(
            shown=display(binding),
            words="" if binding.group else binding.description,
            key=binding.key,
            action=binding.action,
            tooltip=active.tooltip or binding.description,
            is_enabled=active.enabled,
        )
        known = best.get(binding.action)
        if known is None or len(part.shown) < len(known[0].shown):
            best[binding.action] = (part, binding.group)
    units: list[list[Part]] = []
    for group, pairs in groupby(best.values(), lambda pair: pair[1]):
        parts = [part for part, _ in pairs]
        units += [[part] for part in parts] if group is None else [[*parts, Part(words=group.description)]]
    return units
