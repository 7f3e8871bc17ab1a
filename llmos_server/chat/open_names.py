"""Objects that may hold other properties than those that their schema names.

The parser lets a further name be written in any way, as in "\\u0061" for a property that is called a, which then would
escape the property's own schema; but the names of a pattern in one way only.
"""

from __future__ import annotations

from copy import copy
from typing import Any

from llmos_server.chat.schema_paths import children

OPEN: tuple[Any, ...] = (None, True, {})


def close_names(schema: Any) -> Any:
    """A copy in which further names are a pattern's, wherever that means the same."""
    if isinstance(schema, list):
        return [close_names(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for keys, child in children(schema):
        holder: Any = made
        if len(keys) == 2:
            holder = made[keys[0]] = copy(made[keys[0]])
        holder[keys[-1]] = close_names(child)
    if has_open_names(schema) and not schema.get("patternProperties") and schema.get("additionalProperties") in OPEN:
        made |= {"patternProperties": {"": True}, "additionalProperties": False}
    return made


def has_open_names(schema: Any) -> bool:
    """May objects hold others than those that it names? Of this schema alone."""
    return bool(schema.get("properties") or schema.get("patternProperties")) and (
        schema.get("additionalProperties") is not False
    )


def any_open_names(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    return has_open_names(schema) or any(any_open_names(child) for _, child in children(schema))
