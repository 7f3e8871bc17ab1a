"""Wire structs of tools."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class FunctionDefinition(Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    """A JSON Schema; none when absent."""
    strict: bool | None = None


class ToolDefinition(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    function: FunctionDefinition | None = None
