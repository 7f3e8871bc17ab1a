"""Wire structs of response_format and structured_outputs."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class JsonSchemaFormat(Struct, kw_only=True, forbid_unknown_fields=True):
    schema: dict[str, Any] | bool | None = None
    strict: bool | None = None


class ResponseFormat(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    json_schema: JsonSchemaFormat | None = None
    schema: dict[str, Any] | bool | None = None
    """llama.cpp's: of a json_object."""


class StructuredOutputs(Struct, kw_only=True, forbid_unknown_fields=True):
    """vLLM's. Exactly one."""

    json: dict[str, Any] | bool | str | None = None
    """A schema, or its JSON text."""
    regex: str | None = None
    choice: list[str] | None = None
    grammar: str | None = None
    json_object: bool | None = None
