"""The dialog in which an answer is corrected."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static, TextArea

from llmos_tui.screens.chat.thread import Answer
from llmos_tui.screens.dialog import Dialog


class Corrected(NamedTuple):
    """text: what the answer should have said; None where nothing was changed. comment: None for none."""

    text: str | None
    comment: str | None


class CorrectionScreen(Dialog[Corrected]):
    """An editor over the answer, and a line for a comment."""

    DEFAULT_CSS = """
    CorrectionScreen > .dialog { width: 100; height: 90%; }
    CorrectionScreen TextArea { height: 1fr; }
    CorrectionScreen Static { height: auto; color: $text-muted; }
    """
    BINDING_GROUP_TITLE = "Correction"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "keep", "Keep", tooltip="Give it to the server", id="correction.keep"),
    ]

    def __init__(self, answer: Answer) -> None:
        super().__init__("What should it have said?")
        self._answer = answer

    def compose_dialog(self) -> ComposeResult:
        opinion = self._answer.opinion
        text = self._answer.text if opinion.correction is None else opinion.correction
        yield TextArea(text, show_line_numbers=False)
        yield Input(opinion.comment or "", placeholder="A comment")
        yield Static("The server keeps it for training. The chat goes on with what the model wrote.", markup=False)

    def on_mount(self) -> None:
        self.query_one(TextArea).focus()

    def action_keep(self) -> None:
        text = self.query_one(TextArea).text
        comment = self.query_one(Input).value.strip()
        self.dismiss(Corrected(None if text == self._answer.text else text, comment or None))
