"""What questions and answers share on the screen: they can be gone to, and moved between."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message

from llmos_tui.screens.chat.thread import Entry


class EntryView(Vertical, can_focus=True):
    """One question or answer. It asks whoever holds it to move on: up, down, or to the chat beside it."""

    DEFAULT_CSS = """
    EntryView { height: auto; padding: 0 1 0 0; border-left: blank; margin-bottom: 1; }
    EntryView:focus { border-left: thick $accent; background: $boost; }
    EntryView .entry--head { text-style: bold; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move_entry(-1)", "Up", tooltip="What was said before", id="chat.up", show=False),
        Binding("down,j", "move_entry(1)", "Down", tooltip="What was said next", id="chat.down", show=False),
        Binding("left", "move_aside(-1)", "Left", tooltip="A token back, or the left chat", id="chat.left", show=False),
        Binding(
            "right", "move_aside(1)", "Right", tooltip="A token on, or the right chat", id="chat.right", show=False
        ),
        Binding("y", "copy", "Copy", tooltip="Its text, to the clipboard", id="chat.copy"),
    ]

    class Moving(Message):
        """To the entry above (-1) or below (1)."""

        def __init__(self, view: EntryView, direction: int) -> None:
            self.view, self.direction = view, direction
            super().__init__()

    class MovingAside(Message):
        """To the chat on the left (-1) or on the right (1)."""

        def __init__(self, direction: int) -> None:
            self.direction = direction
            super().__init__()

    def __init__(self, entry: Entry) -> None:
        super().__init__()
        self.entry = entry

    def action_move_entry(self, direction: int) -> None:
        self.post_message(self.Moving(self, direction))

    def action_move_aside(self, direction: int) -> None:
        self.post_message(self.MovingAside(direction))

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self.entry.text)
        self.notify("Copied, if the terminal allows it.")

    def on_click(self, event: events.Click) -> None:
        self.focus(scroll_visible=False)
