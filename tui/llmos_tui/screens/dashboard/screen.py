"""What the server is doing."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from llmos_tui.screens.base import LLMOSScreen


class DashboardScreen(LLMOSScreen):
    """To come here: a live panel for each model, and the requests in flight."""

    BINDING_GROUP_TITLE = "Dashboard"

    def compose_body(self) -> ComposeResult:
        yield Static("To come here: a live panel for each model, and the requests in flight.", markup=False)
