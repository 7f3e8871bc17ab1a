"""The [mcp] section: MCP servers that the operator declares, and what this server offers by that protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec

SomeSeconds = Annotated[float, msgspec.Meta(ge=0.1)]
SomeBytes = Annotated[int, msgspec.Meta(ge=1024, le=2**24)]

Approval = Literal["never", "always"] | tuple[str, ...]
"""A tuple: of tools' names, with * for any characters."""


@dataclass(frozen=True, kw_only=True)
class McpServerSettings:
    """A table [mcp.servers.NAME]: command for one that this server starts, url for one that runs elsewhere."""

    command: str = ""
    args: tuple[str, ...] = field(default=(), repr=False)
    env: dict[str, str] = field(default_factory=dict, repr=False)
    """All that the process gets beside PATH, HOME and the like; "${NAME}" is taken from this server's environment."""
    cwd: str = ""
    """"" is the folder where this server was started."""
    url: str = ""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """As env; sent with every request."""
    tools: tuple[str, ...] = ("*",)
    """Which of its tools are offered: names, with * for any characters."""
    approval: Approval = "never"
    """Which of them need a person's approval for each call."""
    timeout_seconds: SomeSeconds = 60.0
    """Of one call."""
    start_seconds: SomeSeconds = 30.0
    """From the start until its tools are known."""
    max_output_bytes: SomeBytes = 65536
    """What a model is told of one call's result; the rest is cut, and told."""
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class McpSettings:
    """The [mcp] section."""

    serve: bool = True
    """Answer MCP clients at /mcp."""
    client_hosts: tuple[str, ...] = ()
    """Hosts whose MCP servers a request may name by their URL: "mcp.example.org", "*.example.org"."""
    servers: dict[str, McpServerSettings] = field(default_factory=dict)
    """Written as tables [mcp.servers.NAME]."""
