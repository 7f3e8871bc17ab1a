"""A key, the one time that it is shown."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from llmos_tui.screens.dialog import Dialog

TEXT = """The server keeps only its hash, so this is the only time that it can be read. Give it to who shall have it.

c copies it, where the terminal lets programs do that (OSC 52); else select it with the mouse (often with shift)."""


class KeyMade(Dialog[None]):
    """It leaves no trace here when it is closed."""

    DEFAULT_CSS = """
    KeyMade #made-key { text-style: bold; color: $success; margin-bottom: 1; }
    """
    BINDING_GROUP_TITLE = "New key"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "Copy", tooltip="Into the terminal's clipboard", id="key-made.copy"),
    ]

    def __init__(self, name: str, key: str) -> None:
        super().__init__(f"The key of {name}")
        self._key = key

    def compose_dialog(self) -> ComposeResult:
        yield Static(self._key, id="made-key", markup=False)
        yield Static(TEXT, markup=False)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._key)
        self.notify("Sent to the terminal's clipboard.")
