"""A function that a model may call, and the schema of its arguments."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llmos_server.chat.grammars import grammar_schema, schema_for_lark
from llmos_server.chat.schema_paths import Schema, invalid
from llmos_server.chat.tools.closed import closed

NO_ARGUMENTS: Schema = {"type": "object", "properties": {}, "additionalProperties": False}
NUM_KEPT = 512
"""Schemas that are kept, the last used ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    name: str
    description: str | None
    parameters: Schema
    """As the client sent it."""
    lark: str
    """The arguments' schema, for grammars."""
    check: Schema | None
    """What arguments have to match besides."""

    @property
    def for_template(self) -> dict[str, Any]:
        """As chat templates expect it."""
        return describe_function(self.name, self.description, self.parameters)


def describe_function(name: str, description: str | None, parameters: Schema | None) -> dict[str, Any]:
    """As chat templates expect it."""
    described = {} if description is None else {"description": description}
    shown = NO_ARGUMENTS if parameters is None else parameters
    return {"type": "function", "function": {"name": name, **described, "parameters": shown}}


def create_tool(name: str, description: str | None, parameters: Any, *, strict: bool, param: str) -> Tool:
    """strict: refuse what a grammar can't hold, by its place. param: the request field that holds the parameters.
    Raises InvalidRequest, for what can be no arguments, too."""
    shown = NO_ARGUMENTS if parameters is None else parameters
    lark, check = _held(json.dumps(shown), strict, param)
    return Tool(name=name, description=description, parameters=shown, lark=lark, check=check)


@lru_cache(NUM_KEPT)
def _held(text: str, strict: bool, param: str) -> tuple[str, Schema | None]:
    held = grammar_schema(closed(_of_object(json.loads(text), param)), strict=strict, param=param)
    return schema_for_lark(held), held.check


def _of_object(schema: Any, param: str) -> Schema:
    if not isinstance(schema, dict):
        raise invalid(param, "", "arguments are described by a JSON Schema of an object")
    kind = schema.get("type")
    if kind not in (None, "object") and not (isinstance(kind, list) and "object" in kind):
        raise invalid(param, "type", 'arguments are an object; send "type": "object"')
    return {**schema, "type": "object"}
