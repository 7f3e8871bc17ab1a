"""keep_alive: how long a model stays loaded behind a request. Here the server's settings say that; but 0 unloads it."""

from __future__ import annotations

import re
from collections.abc import Callable

from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.schemas.ollama import KeepAlive
from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest

_NUMBER = r"\d{1,18}(?:\.\d{1,18})?"
_DURATION = re.compile(rf"[+-]?(?:{_NUMBER}|(?:{_NUMBER}(?:ns|us|µs|μs|ms|s|m|h))+)")
_SOME = re.compile(r"[1-9]")


def asks_to_unload(keep_alive: KeepAlive | None) -> bool:
    """Raises InvalidRequest for what is no duration."""
    if keep_alive is None:
        return False
    if not isinstance(keep_alive, str):
        return keep_alive == 0
    if not _DURATION.fullmatch(keep_alive):
        raise InvalidRequest(
            'keep_alive: send seconds, or a duration such as "5m" or "1h30m".', param="keep_alive", code="invalid_value"
        )
    return not _SOME.search(keep_alive)


def end_of(request: AnyRequest, model_id: str, keep_alive: KeepAlive | None) -> Callable[[], None]:
    """What to call when the request is over: unloads its model where that is asked for, and allowed.

    Tells the client of what has no effect. Raises InvalidRequest.
    """
    is_asked = asks_to_unload(keep_alive)
    admin = services_of(request).model_admin
    if is_asked and admin is not None and principal_of(request).is_admin:
        return lambda: admin.unload_soon(model_id)
    if keep_alive is not None:
        tell_unknown(request, ["keep_alive"])
    return lambda: None
