"""Whether this server keeps what clients want stored: the setting storage.enabled."""

from __future__ import annotations

from typing import Any

from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest


def keeps_objects(connection: Any) -> bool:
    """False, too, without a database."""
    store = services_of(connection).store
    return store is not None and store.settings.enabled


def require_keeping(connection: Any, param: str | None = None) -> None:
    """Raises InvalidRequest. param: the request's field that asks for it."""
    if not keeps_objects(connection):
        raise InvalidRequest(
            "This server keeps no responses, no conversations and no feedback (setting storage.enabled). Send what the "
            "model has to know with each request.",
            param=param,
            code="storage_disabled",
        )
