"""Wire structs of /admin/v1/mcp."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class McpToolInfo(Struct, kw_only=True):
    name: str
    """As models call it."""
    tool: str
    """Its name on the server."""
    needs_approval: bool


class McpServerInfo(Struct, kw_only=True):
    name: str
    transport: Literal["stdio", "http"]
    place: str
    """The program that is started, without its arguments, or the URL, without user and query."""
    state: Literal["off", "starting", "ready", "closing", "waiting", "stopped"]
    """waiting: it is down, and tried again later."""
    tools: list[McpToolInfo]
    """Those that were offered when it was ready last."""
    refused: dict[str, str]
    """Tools that can't be offered, and why."""
    num_hidden: int
    """Tools that the setting tools leaves out."""
    last_error: str
    """How its last connection has ended; "" if none has."""
    num_restarts: int
    num_calls: int
    num_errors: int
    """Calls that came to nothing, or whose tool said so."""
    seconds: float
    """Of all calls together."""


class McpServerList(Struct, kw_only=True):
    data: list[McpServerInfo]
