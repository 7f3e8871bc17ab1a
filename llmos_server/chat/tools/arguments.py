"""A call's arguments as chat templates take them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec


def as_object(arguments: Any) -> dict[str, Any]:
    """Templates write the arguments as JSON themselves, so that they are handed over as an object. What is none, as of
    a call that was cut, becomes its only property."""
    if arguments is None or arguments == "":
        return {}
    value = arguments
    if isinstance(arguments, str):
        with suppress(msgspec.DecodeError, RecursionError):
            value = msgspec.json.decode(arguments)
    return value if isinstance(value, dict) else {"arguments": arguments}
