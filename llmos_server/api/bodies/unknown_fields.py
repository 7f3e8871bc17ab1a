"""Fields that the server doesn't know are ignored and told: in a header, in the log, in a counter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from llmos_server.api.http.context import IGNORED, STRICT, header_list, response_headers
from llmos_server.api.served import ServedModel
from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest

log = structlog.get_logger(__name__)


def tell_unknown(connection: Any, paths: list[str]) -> None:
    """Raises InvalidRequest instead when the setting or the client asks for strictness."""
    services = services_of(connection)
    names = header_list(paths)
    strict = connection.headers.get(STRICT, "").lower() in ("1", "true", "yes")
    if strict or services.settings.strict:
        raise InvalidRequest(
            f"Without an effect here: {names}. Leave that out, or don't ask for strictness ({STRICT}).",
            param=paths[0],
            code="unknown_parameter",
        )
    headers = response_headers(connection)
    headers[IGNORED] = f"{headers[IGNORED]}, {names}" if IGNORED in headers else names
    services.metrics.count_ignored(paths)
    log.warning("request fields ignored", fields=names)


def tell_unread_variables(connection: Any, served: ServedModel, kwargs: Mapping[str, Any] | None) -> None:
    """chat_template_kwargs that this model's template never reads."""
    unread = [f"chat_template_kwargs.{name}" for name in kwargs or {} if name not in served.renderer.template_variables]
    if unread and served.renderer.has_template:
        tell_unknown(connection, unread)
