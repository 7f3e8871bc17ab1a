"""Models on disk and in memory."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from llmos_tui.screens.base import LLMOSScreen


class ModelsScreen(LLMOSScreen):
    """To come here: all models, loading and pulling them, and what is inside."""

    BINDING_GROUP_TITLE = "Models"

    def compose_body(self) -> ComposeResult:
        yield Static("To come here: all models, loading and pulling them, and what is inside.", markup=False)
