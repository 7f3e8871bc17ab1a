"""One entry of `tools` that asks for tools of the server's, as a struct."""

from __future__ import annotations

from typing import Any, TypeVar

from llmos_server.api.bodies.body import convert
from llmos_server.errors import InvalidRequest

T = TypeVar("T")


def read_entry(entry: dict[str, Any], struct: type[T], where: str) -> T:
    """null equals absent. Raises InvalidRequest that names the place."""
    try:
        return convert({name: value for name, value in entry.items() if value is not None}, struct)
    except InvalidRequest as error:
        place = f"{where}.{error.param}" if error.param else where
        raise InvalidRequest(f"{where}: {error}", param=place, code=error.code) from None
