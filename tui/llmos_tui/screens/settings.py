"""Settings."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from llmos_tui.screens.base import LLMOSScreen


class SettingsScreen(LLMOSScreen):
    """To come here: all settings and where each value comes from."""

    BINDING_GROUP_TITLE = "Settings"

    def compose_body(self) -> ComposeResult:
        yield Static("To come here: all settings and where each value comes from.", markup=False)
