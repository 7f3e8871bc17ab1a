"""Skills."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from llmos_tui.screens.base import LLMOSScreen


class SkillsScreen(LLMOSScreen):
    """To come here: skills with versions, scores and a form to try each."""

    BINDING_GROUP_TITLE = "Skills"

    def compose_body(self) -> ComposeResult:
        yield Static("To come here: skills with versions, scores and a form to try each.", markup=False)
