"""Values that come as text (from the environment, from a chat's metadata) as the types that they are for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

S = TypeVar("S", bound=msgspec.Struct)


def convert_loosely(given: Mapping[str, Any], struct: type[S]) -> S:
    """As msgspec.convert, and "3", "true" and JSON are read where the field isn't of type str. Raises
    msgspec.ValidationError."""
    types = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
    return msgspec.convert({name: _read(value, types.get(name, Any)) for name, value in given.items()}, struct)


def _read(value: Any, kind: Any) -> Any:
    """The value as it is where no reading of it fits, so that the error is about what was sent."""
    if not isinstance(value, str):
        return value
    for read in (lambda: value, lambda: msgspec.convert(value, kind, strict=False), lambda: msgspec.json.decode(value)):
        try:
            found = read()
            msgspec.convert(found, kind)
        except msgspec.MsgspecError:
            continue
        return found
    return value
