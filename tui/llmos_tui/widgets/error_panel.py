"""What went wrong, in place of what should be there."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static


class ErrorPanel(VerticalScroll):
    """A title, the error, and what to do."""

    DEFAULT_CSS = """
    ErrorPanel {
        border: round $error;
        padding: 1 2;
        height: auto;
        max-height: 100%;
    }
    ErrorPanel .title { text-style: bold; color: $error; }
    ErrorPanel .remedy { margin-top: 1; color: $text-muted; }
    """

    def __init__(self, title: str, error: str, remedy: str = "") -> None:
        super().__init__()
        self._texts = (("title", title), ("error", error), ("remedy", remedy))

    def compose(self) -> ComposeResult:
        for kind, text in self._texts:
            yield Static(text, classes=kind, markup=False)
