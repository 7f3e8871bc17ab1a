"""Errors in Anthropic's form."""

from __future__ import annotations

import re

import msgspec

from llmos_server.api.errors import MAX_PARAM_LENGTH, WireError, clip
from llmos_server.api.http.event_stream import encode
from llmos_server.api.schemas.anthropic import AnthropicError, AnthropicErrorDetails, AnthropicErrorObject

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
}
"""By status. Anthropic says 529 where HTTP has 503."""

TOO_LONG = "prompt is too long: "
"""Clients look for these words, and for the figures behind them, and shorten the conversation."""
_FIGURES = re.compile(r"is (\d+) tokens long; .* at most (\d+) fits")
ALIAS = (
    '. Where the client can ask for no other name, make it an alias: [models] aliases = { "NAME" = "a served name" }.'
)


def error_object(wire: WireError, request_id: str) -> AnthropicError:
    kind = TYPES.get(wire.status, "invalid_request_error" if wire.status < 500 else "api_error")
    begin = _too_long(wire.message) if wire.code == "context_length_exceeded" else ""
    param = wire.param if wire.param is None else wire.param[:MAX_PARAM_LENGTH]
    details = AnthropicErrorDetails(error_code=wire.code, param=param)
    end = ALIAS if wire.code == "model_not_found" else ""
    message = wire.message.removesuffix(".") if end else wire.message
    error = AnthropicErrorObject(type=kind, message=clip(begin + message + end), details=details)
    return AnthropicError(error=error, request_id=request_id)


def _too_long(message: str) -> str:
    found = _FIGURES.search(message)
    return TOO_LONG if found is None else f"{TOO_LONG}{found[1]} tokens > {found[2]} maximum. "


def error_body(wire: WireError, request_id: str) -> bytes:
    return msgspec.json.encode(error_object(wire, request_id))


def error_event(wire: WireError, request_id: str) -> bytes:
    return b"event: error\ndata: " + encode(error_object(wire, request_id)) + b"\n\n"
