"""Where one writes."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

from llmos_tui.screens.chat.thread import Call, Question

TITLE = "Message"


class Prompt(TextArea):
    """Enter sends, and doesn't break the line. It tells what it is for: a message, an edited one, a tool's result."""

    DEFAULT_CSS = """
    Prompt { height: auto; min-width: 12; min-height: 3; max-height: 8; padding: 0 1; background: $surface; }
    Prompt { border: round $secondary; }
    Prompt:focus { border: round $accent; }
    """
    BINDING_GROUP_TITLE = "Message"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", tooltip="Send it", id="chat.send"),
        Binding(
            "ctrl+j,shift+enter,alt+enter", "break_line", "New line", tooltip="Go on in a new line", id="chat.line"
        ),
    ]

    class Sent(Message):
        """text: without spaces around it, never empty. edited: the question in whose place it comes."""

        def __init__(self, text: str, edited: Question | None) -> None:
            self.text, self.edited = text, edited
            super().__init__()

    def __init__(self) -> None:
        super().__init__(show_line_numbers=False, placeholder="Ask something", highlight_cursor_line=False)
        self.border_title = TITLE
        self.edited: Question | None = None
        self._draft = ""

    async def _on_key(self, event: events.Key) -> None:
        """Enter in its turn: a binding with priority would overtake letters that were typed fast, and send nothing."""
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.action_send()
        else:
            await super()._on_key(event)

    def action_send(self) -> None:
        if text := self.text.strip():
            self.post_message(self.Sent(text, self.edited))

    def action_break_line(self) -> None:
        self.insert("\n")

    def sent(self) -> None:
        """It was taken."""
        was_edited = self.edited is not None
        self.edited, self.border_title = None, TITLE
        self.text = self._draft if was_edited else ""
        self._draft = ""

    def edit_question(self, question: Question) -> None:
        """What was being written comes back afterwards."""
        if self.edited is None:
            self._draft = self.text
        self.edited = question
        self.border_title = "Another question in its place: what follows it goes (esc: leave it)"
        self.text = question.text
        self.move_cursor(self.document.end)
        self.focus()

    def give_up_edit(self) -> None:
        self.sent()

    def wait_for(self, call: Call | None) -> None:
        """A tool's result is wanted, or a message again."""
        if self.edited is None:
            self.border_title = f"Result of {call.name}" if call else TITLE
            self.placeholder = f"What {call.name} returns" if call else "Ask something"
