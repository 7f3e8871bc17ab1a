"""Around every request: its id, the headers that every answer carries, and one line in the log."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from llmos_server.access.keys import hide_secrets
from llmos_server.api.errors import WireError, describe
from llmos_server.api.flights import Flight, note_flight
from llmos_server.api.http.families import family_of
from llmos_server.errors import EngineBusy

log = structlog.get_logger(__name__)

REQUEST_ID = "X-Request-Id"
IGNORED = "X-LLMOS-Ignored"
DROPPED = "X-LLMOS-Dropped-Messages"
TRUNCATED = "X-LLMOS-Truncated-Inputs"
STRICT = "X-LLMOS-Strict"
RATE_LIMITS = [
    f"x-ratelimit-{name}"
    for name in ("limit-tokens", "remaining-tokens", "reset-tokens", "limit-requests", "remaining-requests")
]
EXPOSED_HEADERS = [REQUEST_ID, IGNORED, DROPPED, TRUNCATED, "Retry-After", *RATE_LIMITS]

ErrorBody = Callable[[str, WireError, str], bytes]
"""Of a path, what went wrong and the request's id: a body in the form of the API that the path is of."""

STOPPING = "The server is shutting down; send the request again later."

MAX_IGNORED_NAMES = 20
MAX_IGNORED_NAME_LENGTH = 64

_HEADERS_KEY = "llmos_headers"
_KEY_ID_KEY = "llmos_key_id"
_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_QUIET_PATHS = frozenset({"/health", "/ready", "/metrics"})


class RequestContext:
    """ASGI middleware around the whole app, so that unknown routes and broken requests have an id, too.

    HEAD is answered as GET without the body: Litestar itself knows only handlers of their own for it.
    """

    def __init__(self, app: ASGIApp, error_body: ErrorBody) -> None:
        self._app = app
        self._error_body = error_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"])
        sent = given.get(REQUEST_ID.lower().encode(), b"").decode("latin-1")
        request_id = sent if _SANE_REQUEST_ID.fullmatch(sent) else f"req_{uuid.uuid4().hex}"
        headers: dict[str, str] = {REQUEST_ID: request_id}
        if (own := family_of(scope["path"]).id_header) is not None:
            headers[own] = request_id
        scope["state"][_HEADERS_KEY] = headers
        task = asyncio.current_task()
        assert task is not None
        client = given.get(b"user-agent", b"").decode("latin-1")

        def end(_: Exception) -> None:
            task.cancel()

        flight = Flight(request_id, scope["path"].rstrip("/"), client, end)
        note_flight(scope, flight)
        status = 0
        is_head = scope["method"] == "HEAD"

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                extra = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
                message["headers"] = [*message.get("headers", ()), *extra]
            elif is_head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        started = time.perf_counter()
        bound = structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            with flight.exchange():
                await self._app({**scope, "method": "GET"} if is_head else scope, receive, send_with_headers)
        except asyncio.CancelledError:
            # Ended from outside, or by the web server, which does this to what still runs after the grace time.
            if flight.told is not None:
                task.uncancel()
            elif status:
                raise
            if not status:
                await self._refuse(flight.told or EngineBusy(STOPPING, retry_after=5.0), scope, send_with_headers)
        finally:
            tell = log.debug if scope["path"] in _QUIET_PATHS else log.info
            seconds = round(time.perf_counter() - started, 4)
            key_id = scope["state"].get(_KEY_ID_KEY)
            who = {"key_id": key_id} if key_id else {}
            path = hide_secrets(scope["path"])
            tell("request", method=scope["method"], path=path, status=status, seconds=seconds, **who)
            structlog.contextvars.reset_contextvars(**bound)

    async def _refuse(self, error: Exception, scope: Scope, send: Send) -> None:
        wire = describe(error)
        headers = {"content-type": "application/json", **wire.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": wire.status, "headers": raw})
        body = self._error_body(scope["path"], wire, scope["state"][_HEADERS_KEY][REQUEST_ID])
        await send({"type": "http.response.body", "body": body, "more_body": False})


def response_headers(connection: Any) -> dict[str, str]:
    """Headers that the answer to this request will carry, whatever becomes of it; add to it before it starts."""
    headers: dict[str, str] = connection.scope["state"][_HEADERS_KEY]
    return headers


def note_key(connection: Any, key_id: str) -> None:
    """The id, never the secret, of the key that was accepted: for the log line."""
    connection.scope["state"][_KEY_ID_KEY] = key_id


def request_id_of(connection: Any) -> str:
    return response_headers(connection)[REQUEST_ID]


def header_list(paths: list[str]) -> str:
    """Field paths as one header value: percent-encoded, each and all of bounded length."""
    shown = [quote(path, safe="[]._$-")[:MAX_IGNORED_NAME_LENGTH] for path in paths[:MAX_IGNORED_NAMES]]
    more = len(paths) - len(shown)
    return ", ".join([*shown, f"and {more} more"] if more else shown)
