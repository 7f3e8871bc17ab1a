"""What all handlers answer with."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import MediaType, Request, Response
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp

from llmos_server.api.schemas.common import ErrorResponse

ERRORS: dict[int, ResponseSpec] = {
    400: ResponseSpec(ErrorResponse, description="The request can't be honoured; param names the field."),
    404: ResponseSpec(ErrorResponse, description="No such model."),
    429: ResponseSpec(ErrorResponse, description="The queue is full; Retry-After tells when to try again."),
    503: ResponseSpec(ErrorResponse, description="The engine can't answer now."),
}


def json_response(request: Request[Any, Any, Any], content: msgspec.Struct, *, status: int = 200) -> ASGIApp:
    """Encoded by msgspec as it is: no field of a wire struct needs Litestar's own encoders."""
    return json_bytes_response(request, msgspec.json.encode(content), status=status)


def json_bytes_response(request: Request[Any, Any, Any], content: bytes, *, status: int = 200) -> ASGIApp:
    """content: JSON that was encoded elsewhere."""
    response: Response[bytes] = Response(content, media_type=MediaType.JSON, status_code=status)
    return response.to_asgi_response(app=None, request=request)
