"""A tool that the server runs for a model, wherever it comes from: a skill, a plugin, an MCP server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ToolOutput:
    """What a call came to; text for the model."""

    text: str
    is_error: bool = False
    """The tool said that it failed; the model is told so and may try otherwise."""


@dataclass(frozen=True, kw_only=True)
class ServerTool:
    """What the loop knows of a tool. A call that raises becomes an item with an error, never a failed request."""

    name: str
    """As the model calls it; unique within a request. Letters, digits, `_`, `-` and `.`, at most 128."""
    description: str
    parameters: dict[str, Any]
    """JSON schema of the arguments: an object."""
    source: str
    """For people and logs: "skill", "plugin NAME", "mcp NAME"."""
    label: str
    """What an item says where it comes from (`server_label`): "skills", "plugin:NAME", an MCP server's label."""
    own_name: str = ""
    """At its source, where `name` had to differ from it; "" is `name`."""
    timeout_seconds: float
    run: Callable[[dict[str, Any]], Awaitable[ToolOutput]]
    """Takes arguments that fit `parameters`. Cancelling it ends the work."""
    needs_approval: bool = False

    @property
    def shown_name(self) -> str:
        return self.own_name or self.name
