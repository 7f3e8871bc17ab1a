"""Which model shall be pulled?"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Static

from llmos_tui.screens.dialog import Dialog
from llmos_tui.widgets.field import Field

EXAMPLES = """smollm2:135m            a name that LLMOS or a plugin knows
hf:org/name             of the Hugging Face hub
hf:org/name/file.gguf   one file of it
file:/path              of the server's own disk"""


class PullDialog(Dialog[str]):
    """The answer is its name."""

    BINDING_GROUP_TITLE = "Pull"

    def __init__(self) -> None:
        super().__init__("Pull a model")

    def compose_dialog(self) -> ComposeResult:
        yield Field(placeholder="its name", id="pull-name")
        yield Static(f"\n{EXAMPLES}\n\nThe pull goes on at the server, whatever this terminal does.", markup=False)
        with Horizontal(classes="dialog--buttons"):
            yield Button("Not now", id="no")
            yield Button("Pull", id="yes", variant="primary")

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
