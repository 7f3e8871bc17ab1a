"""Objects that name their properties hold no others, unless they say so.

A function has the parameters that it has. By JSON Schema alone an object is open, and a small model goes on inventing
properties for ever; peers close objects, too.
"""

from __future__ import annotations

from typing import Any

from llmos_server.chat.schema_paths import Schema

COMPOSED = frozenset({"allOf", "oneOf", "not", "if", "contains", "dependentSchemas", "dependencies"})
"""What these say of an object has to be read together with the rest, or turned around."""
BESIDE = frozenset({"anyOf", "$ref"})
"""So have these, beside `properties`."""
OPEN_ENDED = frozenset(
    {"additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames", "minProperties"}
)
MAPS = ("properties", "$defs", "definitions")
LISTS = ("anyOf", "prefixItems")
SINGLE = ("items", "additionalProperties")


def closed(schema: Schema) -> Schema:
    """A copy with additionalProperties: false where that takes away nothing that the schema names. Where its parts have
    to be read together, it stays as it is."""
    return schema if _is_composed(schema) else _close(schema)


def _is_composed(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_is_composed, value))
    if not isinstance(value, dict):
        return False
    keys = value.keys()
    beside = isinstance(value.get("properties"), dict) and not BESIDE.isdisjoint(keys)
    return beside or not COMPOSED.isdisjoint(keys) or any(map(_is_composed, value.values()))


def _close(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for key in MAPS:
        if isinstance(made.get(key), dict):
            made[key] = {name: _close(child) for name, child in made[key].items()}
    for key in LISTS:
        if isinstance(made.get(key), list):
            made[key] = [_close(child) for child in made[key]]
    for key in SINGLE:
        if key in made:
            made[key] = _close(made[key])
    return {**made, "additionalProperties": False} if _can_close(made) else made


def _can_close(schema: Schema) -> bool:
    named, required = schema.get("properties"), schema.get("required")
    if not isinstance(named, dict) or any(schema.get(key) is not None for key in OPEN_ENDED):
        return False
    return required is None or (isinstance(required, list) and all(str(name) in named for name in required))
