"""A skill as others see it: JSON Schemas, a function tool."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from llmos_server.skills.skill import Skill


def input_schema(skill: Skill[Any, Any]) -> dict[str, Any]:
    return inline_schema(msgspec.json.schema(skill.input_type))


def output_schema(skill: Skill[Any, Any]) -> dict[str, Any]:
    return inline_schema(msgspec.json.schema(skill.output_type))


def to_tool(skill: Skill[Any, Any]) -> dict[str, Any]:
    """As an entry of `tools` in a chat. The names of functions have no point in them, as those of skills."""
    function = {"name": re.sub(r"\W", "_", skill.name), "description": skill.description}
    return {"type": "function", "function": {**function, "parameters": input_schema(skill)}}


def inline_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The struct's own schema at the top instead of a reference to it; others stay in $defs."""
    definitions = schema.get("$defs", {})
    top = schema.get("$ref", "").removeprefix("#/$defs/")
    if top not in definitions:
        return schema
    rest = {name: value for name, value in definitions.items() if name != top}
    inlined = {key: value for key, value in definitions[top].items() if key != "title"}
    refers_to_itself = f"#/$defs/{top}" in str(definitions)
    kept = definitions if refers_to_itself else rest
    return {**inlined, **({"$defs": kept} if kept else {})}
