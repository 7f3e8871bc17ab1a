"""What of a server's list of tools is offered to models: within bounds, under names that are unique."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol

import msgspec

from llmos_server.agents.mcp.declared import Declared
from llmos_server.agents.mcp.failures import McpFailed, clip
from llmos_server.chat.grammars import grammar_schema
from llmos_server.chat.guarded import shared_guard
from llmos_server.chat.tools.tool import create_tool
from llmos_server.errors import InvalidRequest

MAX_TOOLS = 128
MAX_NAME = 128
MAX_DESCRIPTION = 4096
MAX_SCHEMA_BYTES = 32768
MAX_TOO_COMPLEX = 2
"""Schemas that take seconds to find out about; a server with more is refused."""


class ListedTool(Protocol):
    """As the SDK has it."""

    name: str
    description: str | None
    input_schema: dict[str, Any]
    output_schema: dict[str, Any] | None

    @property
    def annotations(self) -> object: ...


@dataclass(frozen=True, kw_only=True)
class Offered:
    tool: str
    """Its name on its server."""
    name: str
    """As models call it."""
    description: str
    parameters: dict[str, Any]
    output_schema: dict[str, Any] | None
    """What structured results are held against."""
    needs_approval: bool
    is_read_only: bool
    """By its own account."""


@dataclass(kw_only=True)
class Listing:
    offered: dict[str, Offered] = field(default_factory=dict)
    """By the tool's name on its server."""
    refused: dict[str, str] = field(default_factory=dict)
    """Tool -> why it isn't offered, although the operator allows it."""
    num_hidden: int = 0
    """Tools that the operator's list leaves out."""


def read_listing(declared: Declared, tools: Sequence[ListedTool]) -> Listing:
    """Blocks: schemas are read in the guarded process. Raises McpFailed for a server that is out for trouble."""
    listing = Listing()
    allowed = [tool for tool in tools if declared.is_offered(tool.name)]
    listing.num_hidden = len(tools) - len(allowed)
    num_complex = 0
    for tool in allowed:
        name = shown_name(declared.name, tool.name)
        try:
            if len(listing.offered) >= MAX_TOOLS:
                raise InvalidRequest(f"only {MAX_TOOLS} tools of a server are offered; name them in its tools")
            if any(offered.name == name for offered in listing.offered.values()):
                raise InvalidRequest("there is another tool of this name")
            listing.offered[tool.name] = _offer(declared, tool, name)
        except InvalidRequest as error:
            listing.refused[clip(tool.name)] = clip(str(error))
            num_complex += error.code == "too_complex"
            if num_complex > MAX_TOO_COMPLEX:
                raise McpFailed(f"has {num_complex} tools with schemas that are too complex to be read") from None
    return listing


def shown_name(server: str, tool: str) -> str:
    """SERVER__TOOL, of characters that every client takes; where it is too long, its end is a digest of the whole."""
    name = f"{server}__{re.sub(r'[^A-Za-z0-9_-]', '_', tool)}"
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 9]}_{sha256(tool.encode()).hexdigest()[:8]}"


def _offer(declared: Declared, tool: ListedTool, name: str) -> Offered:
    parameters = _bounded(tool.input_schema, "inputSchema")
    create_tool(name, None, parameters, strict=False, param="inputSchema")
    description = tool.description or ""
    if len(description) > MAX_DESCRIPTION:
        description = f"{description[:MAX_DESCRIPTION]} ..."
    return Offered(
        tool=tool.name,
        name=name,
        description=description,
        parameters=dict(parameters),
        output_schema=_output_schema(tool),
        needs_approval=declared.needs_approval(tool.name),
        is_read_only=bool(getattr(tool.annotations, "read_only_hint", False)),
    )


def _output_schema(tool: ListedTool) -> dict[str, Any] | None:
    if tool.output_schema is None:
        return None
    schema = _bounded(tool.output_schema, "outputSchema")
    grammar_schema(schema, strict=False, param="outputSchema")
    return dict(schema)


def _bounded(schema: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    num_bytes = len(msgspec.json.encode(schema))
    if num_bytes > MAX_SCHEMA_BYTES:
        raise InvalidRequest(f"{where}: it has {num_bytes} bytes; {MAX_SCHEMA_BYTES} are taken")
    return schema


async def read_in_thread(declared: Declared, tools: Sequence[ListedTool]) -> Listing:
    return await shared_guard().in_thread(read_listing, declared, tools)
