"""A dialog over a screen: a frame that derived ones fill, and the question whether something may be done."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from llmos_tui.widgets.key_bar import KeyBar

Answer = TypeVar("Answer")


class Dialog(ModalScreen[Answer], Generic[Answer]):
    """Escape closes it without an answer (None). Derived ones yield their widgets in compose_dialog()."""

    DEFAULT_CSS = """
    Dialog { align: center middle; }
    Dialog > .dialog {
        width: 72;
        max-width: 96%;
        height: auto;
        max-height: 90%;
        padding: 1 2;
        background: $surface;
        border: round $primary;
    }
    Dialog .dialog--title { text-style: bold; margin-bottom: 1; width: 1fr; }
    Dialog .dialog--buttons { height: auto; margin-top: 1; align-horizontal: right; }
    Dialog .dialog--buttons Button { margin-left: 2; min-width: 12; }
    """
    BINDING_GROUP_TITLE = "Dialog"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", "Close", tooltip="Close without an answer", id="dialog.close"),
    ]

    def __init__(self, title: str) -> None:
        super().__init__()
        self.dialog_title = title

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self.dialog_title, classes="dialog--title", markup=False)
            yield from self.compose_dialog()
        yield KeyBar()

    def compose_dialog(self) -> ComposeResult:
        yield from ()

    def action_close(self) -> None:
        self.dismiss(None)


class ConfirmScreen(Dialog[bool]):
    """May this be done? True, or None for no."""

    BINDING_GROUP_TITLE = "Question"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "confirm", "Yes", tooltip="Do it", id="confirm.yes"),
        Binding("n", "close", "No", tooltip="Do nothing", id="confirm.no"),
    ]

    def __init__(self, title: str, text: str, yes: str = "Yes", no: str = "No") -> None:
        """yes: the button's words; best a verb ("Abort")."""
        super().__init__(title)
        self._text, self._yes, self._no = text, yes, no

    def compose_dialog(self) -> ComposeResult:
        yield Static(self._text, markup=False)
        with Horizontal(classes="dialog--buttons"):
            yield Button(self._no, id="no")
            yield Button(self._yes, id="yes", variant="error")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "yes":
            self.action_confirm()
        else:
            self.action_close()

    def action_confirm(self) -> None:
        self.dismiss(True)
