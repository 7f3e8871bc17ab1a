"""Which model shall be measured?"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Static

from llmos_tui.screens.dialog import Dialog
from llmos_tui.widgets.field import Field


class ModelDialog(Dialog[str]):
    """The answer is its name."""

    BINDING_GROUP_TITLE = "Model"

    def __init__(self, before: str) -> None:
        """before: which one the items were given to."""
        super().__init__("Another model")
        self._before = before

    def compose_dialog(self) -> ComposeResult:
        yield Field(placeholder="its name, or MODEL:NAME of a tuned one", id="measured-model")
        yield Static(f"\nIt gets the items that {self._before} got, with the same sampling.", markup=False)
        with Horizontal(classes="dialog--buttons"):
            yield Button("Not now", id="no")
            yield Button("Measure", id="yes", variant="primary")

    def on_mount(self) -> None:
        self.query_one(Field).focus()

    def on_field_left(self, message: Field.Left) -> None:
        self.action_close()

    def on_input_submitted(self, message: Field.Submitted) -> None:
        self._answer()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "yes":
            self._answer()
        else:
            self.action_close()

    def _answer(self) -> None:
        if name := self.query_one(Field).value.strip():
            self.dismiss(name)
