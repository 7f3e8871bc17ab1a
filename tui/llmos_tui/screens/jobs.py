"""Jobs."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from llmos_tui.screens.base import LLMOSScreen


class JobsScreen(LLMOSScreen):
    """To come here: jobs with progress, log and curves."""

    BINDING_GROUP_TITLE = "Jobs"

    def compose_body(self) -> ComposeResult:
        yield Static("To come here: jobs with progress, log and curves.", markup=False)
