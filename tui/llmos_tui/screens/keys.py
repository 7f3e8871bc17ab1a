"""Keys."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from llmos_tui.screens.base import LLMOSScreen


class KeysScreen(LLMOSScreen):
    """To come here: keys, their limits, new ones, and revoking."""

    BINDING_GROUP_TITLE = "Keys"

    def compose_body(self) -> ComposeResult:
        yield Static("To come here: keys, their limits, new ones, and revoking.", markup=False)
