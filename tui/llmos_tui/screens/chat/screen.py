"""Try a prompt."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.widgets import Static

from llmos_tui.screens.base import LLMOSScreen


class ChatScreen(LLMOSScreen):
    """To come here: chats with any model or skill, as they are streamed."""

    BINDING_GROUP_TITLE = "Chat"

    def compose_body(self) -> ComposeResult:
        yield Static("To come here: chats with any model or skill, as they are streamed.", markup=False)
