"""Dialogs of the chat: which model, one line of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, Static

from llmos_tui import words
from llmos_tui.screens.dialog import Dialog
from llmos_tui.widgets.rows import Column, Rows
from llmos_tui.wire.chat import ServedModel


class ModelChooser(Dialog[ServedModel]):
    """What is written narrows the list."""

    DEFAULT_CSS = """
    ModelChooser Rows { height: 12; }
    """
    BINDING_GROUP_TITLE = "Models to chat with"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "choose", "Choose", tooltip="Take this model", id="chat-model.choose", priority=True),
        Binding("up", "move_row(-1)", "Up", tooltip="One row up", id="chat-model.up", show=False, priority=True),
        Binding("down", "move_row(1)", "Down", tooltip="One row down", id="chat-model.down", show=False, priority=True),
    ]

    def __init__(self, title: str, models: Sequence[ServedModel]) -> None:
        super().__init__(title)
        self._models = models
        columns = [
            Column[ServedModel]("MODEL", lambda model: model.id, 20, share=1),
            Column[ServedModel]("STATE", lambda model: model.state, 9),
            Column[ServedModel]("CONTEXT", lambda model: words.count(model.max_model_len), 7, is_right=True, drop=1),
            Column[ServedModel]("KIND", lambda model: "skill" if model.is_skill else "model", 5, drop=2),
        ]
        self._rows: Rows[ServedModel] = Rows(columns, lambda model: model.id, "Nothing of this name.")

    def compose_dialog(self) -> ComposeResult:
        yield Input(placeholder="Part of its name")
        yield self._rows

    def on_mount(self) -> None:
        self._rows.show(self._models)
        self.query_one(Input).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        sought = event.value.lower().split()
        self._rows.show([model for model in self._models if all(part in model.id.lower() for part in sought)])

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        self.dismiss(message.row)

    def action_choose(self) -> None:
        self._rows.choose()

    def action_move_row(self, direction: int) -> None:
        self._rows.action_move(direction)


class AskLine(Dialog[str]):
    """One line of text; never empty."""

    BINDING_GROUP_TITLE = "Question"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "answer", "Take it", tooltip="Go on with this text", id="ask-line.take", priority=True),
    ]

    def __init__(self, title: str, text: str = "", help: str = "") -> None:
        super().__init__(title)
        self._text, self._help = text, help

    def compose_dialog(self) -> ComposeResult:
        yield Input(self._text, select_on_focus=False)
        if self._help:
            yield Static(self._help, markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    def action_answer(self) -> None:
        if text := self.query_one(Input).value.strip():
            self.dismiss(text)
