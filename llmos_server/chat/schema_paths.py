"""Places in a JSON Schema, written as in "properties.user.items.pattern", and the errors that name them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from llmos_server.chat.schema_keywords import LISTS, MAPS, SCHEMAS
from llmos_server.errors import InvalidRequest

Schema = dict[str, Any]


def invalid(param: str, path: str, reason: str, *, code: str = "invalid_schema") -> InvalidRequest:
    """The error that names the place in the schema."""
    place = f"{param}.{path}" if path else param
    return InvalidRequest(f"{place}: {reason}.", param=place, code=code)


def at(path: str, *keys: str | int) -> str:
    return ".".join([*([path] if path else []), *map(str, keys)])


def children(schema: Schema) -> Iterator[tuple[tuple[str, ...] | tuple[str, int], Any]]:
    """Each schema that it holds, with its keys."""
    for key, value in schema.items():
        if key in MAPS:
            yield from (((key, name), child) for name, child in value.items())
        elif key in LISTS:
            yield from (((key, place), child) for place, child in enumerate(value))
        elif key in SCHEMAS:
            yield (key,), value
