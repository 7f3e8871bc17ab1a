"""The form for a new key, and for another's limits."""

from __future__ import annotations

from typing import Any

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.widgets import Button, Checkbox, Label, Static

from llmos_tui.screens.dialog import Dialog
from llmos_tui.widgets.field import Field
from llmos_tui.wire.keys import Key

LISTS = ("models", "skills", "tools")
LIMITS = ("max_in_flight", "tokens_per_minute")
LABELS = {
    "name": ("name", "whose key it is"),
    "models": ("models", "all; or names with commas; - for none"),
    "skills": ("skills", "all; or names with commas; - for none"),
    "tools": ("tools", "all; or names with commas; - for none"),
    "max_in_flight": ("requests at once", "no limit"),
    "tokens_per_minute": ("tokens a minute", "no limit"),
}
"""Field -> what it is called, and what an empty one means."""


class NotAField(ValueError):
    """What was written can't be; the text is for the user."""


class KeyForm(Dialog[dict[str, Any]]):
    """The answer: the fields of a request; for a key that exists those that are other now."""

    DEFAULT_CSS = """
    KeyForm .pair { height: 1; }
    KeyForm .pair Label { width: 18; }
    KeyForm .pair Field { width: 1fr; }
    KeyForm Checkbox { border: none; padding: 0; height: 1; margin: 0 0 0 17; background: $surface; }
    KeyForm #form-error { color: $error; height: auto; }
    """
    BINDING_GROUP_TITLE = "Key"

    def __init__(self, key: Key | None = None) -> None:
        super().__init__("A new key" if key is None else f"Limits of {key.name}")
        self._key = key

    def compose_dialog(self) -> ComposeResult:
        for name, (label, empty) in LABELS.items():
            with Horizontal(classes="pair"):
                yield Label(label)
                yield Field(_written(self._key, name), placeholder=empty, id=f"form-{name}", max_length=2000)
        if self._key is None:
            yield Checkbox("administrator: may use /admin, too", id="form-is_admin")
        yield Static("", id="form-error", markup=False)
        with Horizontal(classes="dialog--buttons"):
            yield Button("Not now", id="no")
            yield Button("Make it" if self._key is None else "Change it", id="yes", variant="primary")

    def on_mount(self) -> None:
        self.query_one("#form-name", Field).focus()

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
        try:
            fields = {name: read_field(name, self.query_one(f"#form-{name}", Field).value) for name in LABELS}
        except NotAField as error:
            self.query_one("#form-error", Static).update(str(error))
            return
        if self._key is None:
            is_admin = self.query_one("#form-is_admin", Checkbox).value
            given = {name: value for name, value in fields.items() if value is not None}
            self.dismiss({**given, "is_admin": is_admin})
        else:
            self.dismiss({name: value for name, value in fields.items() if value != getattr(self._key, name)})


def read_field(name: str, text: str) -> Any:
    """As the API has it. Raises NotAField."""
    text = text.strip()
    if name == "name":
        if not text:
            raise NotAField("A key has a name: whose it is, or for what.")
        return text
    if not text:
        return None
    if name in LISTS:
        return [] if text == "-" else [part.strip() for part in text.split(",") if part.strip()]
    if not (text.isascii() and text.isdigit() and int(text)):
        raise NotAField(f"{LABELS[name][0]}: a whole number from 1 on, or nothing for no limit.")
    return int(text)


def _written(key: Key | None, name: str) -> str:
    """As a user would have written it."""
    value = getattr(key, name) if key is not None else None
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return "" if value is None else str(value)
