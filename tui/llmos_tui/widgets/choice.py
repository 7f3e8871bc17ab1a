"""One of a few words, gone through by keys or clicks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Static


class Choice(Static, can_focus=True):
    """The first one holds at the start; "" is shown as a line."""

    DEFAULT_CSS = """
    Choice { height: 1; background: $panel; padding: 0 1; }
    Choice:focus { background: $boost; text-style: bold; }
    """
    BINDING_GROUP_TITLE = "Choice"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "turn(1)", "Next", tooltip="The next choice", id="choice.next"),
        Binding("left", "turn(-1)", "Before", tooltip="The one before", id="choice.before"),
    ]

    def __init__(self, choices: Sequence[str], *, id: str | None = None) -> None:
        super().__init__("", id=id, markup=False)
        self._choices = tuple(choices) or ("",)
        self._place = 0

    @property
    def value(self) -> str:
        return self._choices[self._place]

    def on_mount(self) -> None:
        self._draw()

    def _draw(self) -> None:
        words = [word or "-" for word in self._choices]
        words[self._place] = f"[{words[self._place]}]"
        self.update(" ".join(word if number == self._place else f" {word} " for number, word in enumerate(words)))

    def action_turn(self, by: int) -> None:
        self._place = (self._place + by) % len(self._choices)
        self._draw()

    def on_click(self) -> None:
        self.action_turn(1)
