"""Before routing: is this request meant for this server, and may the web page that sent it send it?

A server on the loopback address is within reach of every web page that its user opens. Three doors are shut here: a
name of the page's own that resolves to this machine (DNS rebinding: the Host header), a page of another origin (the
Origin header, which browsers send with every POST), and what browsers load without one (Fetch Metadata). Programs send
none of these headers but Host, and notice nothing. Keys are checked elsewhere, and are no matter here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

import structlog
from litestar.config.cors import CORSConfig
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from llmos_server.api.error_response import error_body
from llmos_server.api.errors import WireError
from llmos_server.api.http.body_reader import UPLOADS, BodyReader, MemoryBudget
from llmos_server.api.http.context import request_id_of
from llmos_server.hosts import create_host_rule, name_in
from llmos_server.settings import ApiSettings

MAX_URL_BYTES = 8192
MAX_HEADER_BYTES = 64 * 2**10
"""Of all header names and values together."""
MAX_BODIES_AT_ONCE = 16
"""The bodies of all open requests together may take as much memory as so many of the largest."""

_PLAIN_ORIGIN = re.compile(r"null|[a-z][a-z0-9+.-]{0,20}://[A-Za-z0-9.:\[\]_-]{1,100}")
_DEFAULT_PORTS = {"http": 80, "https": 443}

log = structlog.get_logger(__name__)


class Guard:
    """ASGI middleware, inside RequestContext. Refuses in the form of the API that is called; reads bodies within limits
    of time and memory."""

    def __init__(self, app: ASGIApp, settings: ApiSettings, cors: CORSConfig | None) -> None:
        self._app = app
        self._cors = cors
        self._is_allowed_host = create_host_rule(settings.host, settings.allowed_hosts)
        self._body_seconds = settings.body_timeout_seconds
        self._budget = MemoryBudget(settings.max_body_bytes * MAX_BODIES_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = check_size(scope) or self._check_host(scope, headers) or self._check_page(scope, headers)
        if refusal is not None:
            body = error_body(scope["path"], refusal, request_id_of(ASGIConnection(scope)))
            await send_error(refusal, body, send)
            return
        with self._budget.account() as account:
            is_upload = scope["path"].rstrip("/") in UPLOADS
            await self._app(scope, BodyReader(receive, account, self._body_seconds, is_upload=is_upload), send)

    def _check_host(self, scope: HTTPScope, headers: Mapping[str, str]) -> WireError | None:
        num_hosts = sum(name == b"host" for name, _ in scope["headers"])
        if num_hosts == 0 and scope["http_version"] == "1.0":  # No browser sends such a request.
            return None
        if num_hosts != 1:
            return WireError(400, "A request has exactly one Host header.", code="invalid_host")
        name = name_in(headers["host"])
        if name is None:
            return WireError(400, "The Host header is malformed; it is name:port.", code="invalid_host")
        if self._is_allowed_host(name):
            return None
        log.warning("request refused: unknown host", remedy="if it is yours: api.allowed_hosts")
        message = (
            f"This server doesn't answer to the name {name[:100]!r}. If it is yours, add it to the setting "
            f"api.allowed_hosts, e.g. LLMOS_API__ALLOWED_HOSTS={name[:100]}; else use the server's address."
        )
        return WireError(421, message, code="unknown_host")

    def _check_page(self, scope: HTTPScope, headers: Mapping[str, str]) -> WireError | None:
        origin = headers.get("origin")
        if origin is None:
            return None if self._is_open or not is_foreign_fetch(scope["method"], headers) else _refuse_fetch()
        if (self._cors is not None and self._cors.is_origin_allowed(origin)) or is_same_origin(
            origin, headers.get("host", "")
        ):
            return None
        shown = origin if _PLAIN_ORIGIN.fullmatch(origin) else "(malformed)"
        log.warning(
            "request refused: foreign origin", origin=shown, remedy="if it is yours, add it to api.cors_origins"
        )
        message = (
            f"The origin {shown} may not use this server: web pages, browser extensions and desktop apps have to be "
            "named in the setting api.cors_origins. If you trust it, start the server with "
            f"LLMOS_API__CORS_ORIGINS={shown if shown == origin else 'ORIGIN'}. Programs outside of a browser send no "
            "Origin header."
        )
        return WireError(403, message, code="origin_refused")

    @property
    def _is_open(self) -> bool:
        return self._cors is not None and self._cors.is_allow_all_origins


def check_size(scope: HTTPScope) -> WireError | None:
    """Of what comes before the body. Both limits are far above what clients send."""
    if len(scope["raw_path"]) + len(scope["query_string"]) > MAX_URL_BYTES:
        return WireError(
            414, f"The URL is longer than {MAX_URL_BYTES} bytes; send data in the body.", code="url_too_long"
        )
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        message = f"The headers are longer than {MAX_HEADER_BYTES} bytes together; send fewer, or smaller cookies."
        return WireError(431, message, code="headers_too_large")
    return None


def is_same_origin(origin: str, host: str) -> bool:
    """Whether the page came from this server. A proxy may have taken TLS off, so the scheme only tells the port."""
    try:
        page = urlsplit(origin)
        own = urlsplit(f"//{host}")
        default = _DEFAULT_PORTS.get(page.scheme)
        return (
            default is not None
            and page.hostname is not None
            and page.hostname == own.hostname
            and (page.port or default) == (own.port or default)
        )
    except ValueError:
        return False


def is_foreign_fetch(method: str, headers: Mapping[str, str]) -> bool:
    """A page of another site loads this as an image, a script …; following a link to here is no such thing."""
    is_foreign = headers.get("sec-fetch-site") in ("cross-site", "same-site")
    return is_foreign and not (method in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate")


def _refuse_fetch() -> WireError:
    log.warning("request refused: fetched by a web page of another site")
    return WireError(
        403, "Web pages of other sites can't load this; see the setting api.cors_origins.", code="origin_refused"
    )


async def send_error(wire: WireError, body: bytes, send: Send) -> None:
    headers = {"content-type": "application/json", "content-length": str(len(body)), **wire.headers}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": wire.status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})
