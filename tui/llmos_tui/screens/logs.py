"""Logs."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from llmos_tui.screens.base import LLMOSScreen


class LogsScreen(LLMOSScreen):
    """To come here: the server's log, filtered and followed."""

    BINDING_GROUP_TITLE = "Logs"

    def compose_body(self) -> ComposeResult:
        yield Static("To come here: the server's log, filtered and followed.", markup=False)
