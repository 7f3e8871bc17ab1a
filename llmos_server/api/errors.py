"""Every failure as OpenAI's error object; the only place that knows which HTTP status a domain error becomes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import structlog

from llmos_server.api.schemas.common import ErrorDetail, ErrorResponse
from llmos_server.errors import (
    AgentTimedOut,
    EngineBusy,
    EngineFailed,
    Forbidden,
    InvalidRequest,
    LLMOSError,
    ModelNotFound,
    PluginFailed,
    PullCancelled,
    RateLimited,
    StorageFull,
    StoreUnavailable,
    TextBusy,
    Unauthorized,
)

log = structlog.get_logger(__name__)

INVALID = "invalid_request_error"
MAX_MESSAGE_LENGTH = 2000
MAX_PARAM_LENGTH = 200


class NotFound(InvalidRequest):
    """There is no such thing, or it belongs to somebody else."""


class ClientDisconnected(Exception):
    """The client left; nobody reads the answer."""


class QueueFull(EngineBusy):
    """A ready engine has as many requests waiting as it may."""


class AbortedByAdministrator(LLMOSError):
    """Someone who may has ended the request."""

    def __init__(self) -> None:
        super().__init__("An administrator of this server has ended this request.")


class UnsupportedMediaType(InvalidRequest):
    """The body says that it is something else than JSON."""


class RefusedEarly(InvalidRequest):
    """Refused before it was understood, with a status of its own."""

    def __init__(self, message: str, *, status: int, code: str, headers: Mapping[str, str]) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.headers = dict(headers)


@dataclass(frozen=True, slots=True)
class WireError:
    status: int
    message: str
    type: str = INVALID
    param: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """Bounded: message and param may hold what the client sent."""
        param = self.param if self.param is None else self.param[:MAX_PARAM_LENGTH]
        detail = ErrorDetail(message=self.bounded_message, type=self.type, param=param, code=self.code)
        return msgspec.json.encode(ErrorResponse(error=detail))

    @property
    def bounded_message(self) -> str:
        return clip(self.message)


def describe(error: BaseException) -> WireError:
    """What the client is told. Unexpected errors are told without their text, which is logged instead."""
    if isinstance(error, RefusedEarly):
        kind = INVALID if error.status < 500 else "service_unavailable_error"
        return WireError(error.status, str(error), type=kind, code=error.code, headers=error.headers)
    if isinstance(error, InvalidRequest):
        status = 415 if isinstance(error, UnsupportedMediaType) else 404 if isinstance(error, NotFound) else 400
        return WireError(status, str(error), param=error.param, code=error.code or "invalid_value")
    if isinstance(error, Unauthorized):
        return WireError(401, str(error), code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})
    if isinstance(error, Forbidden):
        return WireError(403, str(error), type="permission_error", param=error.param, code=error.code)
    if isinstance(error, RateLimited):
        headers = {**error.headers, **_retry_after(error.retry_after)}
        return WireError(429, str(error), type="rate_limit_error", code="rate_limit_exceeded", headers=headers)
    if isinstance(error, StoreUnavailable):
        message = "The database can't be used now; the server's log tells why. Try again later."
        retry = _retry_after(1.0)
        return WireError(503, message, type="service_unavailable_error", code="database_unavailable", headers=retry)
    if isinstance(error, StorageFull):
        return WireError(507, str(error), type="server_error", code="insufficient_storage")
    if isinstance(error, ModelNotFound):
        return WireError(404, str(error), param="model", code="model_not_found")
    if isinstance(error, EngineBusy):
        retry = _retry_after(error.retry_after)
        if isinstance(error, QueueFull):
            return WireError(429, str(error), type="rate_limit_error", code="queue_full", headers=retry)
        return WireError(503, str(error), type="service_unavailable_error", code="engine_busy", headers=retry)
    if isinstance(error, TextBusy):
        retry = _retry_after(error.retry_after)
        return WireError(429, str(error), type="rate_limit_error", code="queue_full", headers=retry)
    if isinstance(error, EngineFailed):
        retry = {} if error.retry_after is None else _retry_after(error.retry_after)
        return WireError(503, str(error), type="service_unavailable_error", code="engine_failed", headers=retry)
    if isinstance(error, PluginFailed):
        if error.retry_after is None:
            return WireError(500, str(error), type="server_error", code="plugin_failed")
        retry = _retry_after(error.retry_after)
        return WireError(503, str(error), type="service_unavailable_error", code="plugin_failed", headers=retry)
    if isinstance(error, AgentTimedOut):
        return WireError(504, str(error), type="server_error", code="agent_timeout")
    if isinstance(error, AbortedByAdministrator | PullCancelled):
        headers = {"X-Should-Retry": "false"}  # OpenAI's and Anthropic's SDKs would send it again.
        kind = "service_unavailable_error"
        return WireError(503, str(error), type=kind, code="aborted_by_administrator", headers=headers)
    if isinstance(error, LLMOSError):
        return WireError(500, str(error), type="server_error", code="server_error")
    if isinstance(error, ClientDisconnected):
        return WireError(499, "The client closed the connection.", code="client_disconnected")
    return WireError(
        500, "Something went wrong in the server; its log tells more.", type="server_error", code="internal_error"
    )


def clip(text: str) -> str:
    """Its end may hold the remedy, so the middle is left out."""
    half = MAX_MESSAGE_LENGTH // 2
    return text if len(text) <= MAX_MESSAGE_LENGTH else f"{text[:half]} ... {text[-half:]}"


def _retry_after(seconds: float) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def report(error: BaseException, wire: WireError) -> None:
    """To the log: a traceback for what nobody foresaw, one line for a server's failure, nothing for a client's."""
    if isinstance(error, EngineBusy | AbortedByAdministrator | PullCancelled):
        log.debug("request refused", error=str(error), code=wire.code)  # The request's own line tells the status.
        return
    if wire.code == "internal_error":
        log.error("unexpected error", exc_info=error)
    elif wire.status >= 500:
        log.warning("request failed", error=str(error), code=wire.code)
