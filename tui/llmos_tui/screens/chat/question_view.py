"""A question on the screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static

from llmos_tui.screens.chat.entry_view import EntryView
from llmos_tui.screens.chat.thread import Question


class QuestionView(EntryView):
    """As it was written: a user's text is no Markdown."""

    DEFAULT_CSS = """
    QuestionView .entry--head { color: $primary; }
    """
    BINDING_GROUP_TITLE = "Question"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "edit", "Edit", tooltip="Change it and go on from there", id="chat.edit"),
    ]

    class Edited(Message):
        """The user wants another question in its place."""

        def __init__(self, question: Question) -> None:
            self.question = question
            super().__init__()

    def __init__(self, question: Question) -> None:
        super().__init__(question)
        self.question = question

    def compose(self) -> ComposeResult:
        yield Static("You", classes="entry--head", markup=False)
        yield Static(self.question.text, markup=False)

    def action_edit(self) -> None:
        self.post_message(self.Edited(self.question))
