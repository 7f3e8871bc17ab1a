"""What a failed request is answered, in the form of the API whose URL was called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, ValidationException

from llmos_server.api.anthropic.errors import error_body as anthropic_error
from llmos_server.api.errors import WireError, describe, report
from llmos_server.api.http.context import request_id_of
from llmos_server.api.http.families import ANTHROPIC, MCP, OLLAMA, Family, family_of
from llmos_server.api.mcp_serving.error_form import mcp_error
from llmos_server.api.ollama import ndjson as ollama
from llmos_server.api.wrong_urls import ABSENT, remedy_for

ErrorForm = Callable[[WireError, str], bytes]
"""A body in JSON. Takes the request's id, too."""

FORMS: dict[Family, ErrorForm] = {ANTHROPIC: anthropic_error, OLLAMA: ollama.error_body, MCP: mcp_error}
"""Of other APIs than OpenAI's."""


def error_body(path: str, wire: WireError, request_id: str) -> bytes:
    form = FORMS.get(family_of(path))
    return wire.body() if form is None else form(wire, request_id)


def _describe_http(request: Request[Any, Any, Any], error: HTTPException) -> WireError:
    """Errors of Litestar itself: routing and reading the request."""
    place = f"{request.method} {request.url.path}"
    headers = {str(name): str(value) for name, value in (error.headers or {}).items()}
    if error.status_code == 404 or request.url.path in ABSENT:
        return WireError(404, f"There is no {place}. {remedy_for(request.url.path)}", code="unknown_url")
    if error.status_code == 405:
        message = f"{place}: this URL takes another method. See /docs."
        return WireError(405, message, code="method_not_allowed", headers=headers)
    if error.status_code == 413:
        return WireError(
            413, "The request body is larger than the setting api.max_body_bytes allows.", code="request_too_large"
        )
    if isinstance(
        error, ValidationException
    ):  # handlers read nothing but the body, and WireBody judges any that is there
        return WireError(400, "The request has no body; send a JSON object.", code="invalid_json")
    if error.status_code < 500:
        return WireError(error.status_code, error.detail, code="invalid_value", headers=headers)
    return WireError(error.status_code, error.detail, type="server_error", code="server_error")


def to_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar's exception handler for everything."""
    if isinstance(error, HTTPException):
        wire = _describe_http(request, error)
    else:
        wire = describe(error)
        report(error, wire)
    body = error_body(request.url.path, wire, request_id_of(request))
    return Response(body, status_code=wire.status, headers=wire.headers, media_type=MediaType.JSON)
