"""GET /admin/v1/overview and /admin/v1/live: the server at one moment, and from moment to moment."""

from __future__ import annotations

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery
from litestar.types import ASGIApp

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.event_stream import EVENT_STREAM
from llmos_server.api.http.following import open_live, read_interval
from llmos_server.api.http.responses import json_bytes_response
from llmos_server.api.schemas.admin_live import Overview
from llmos_server.api.services import services_of
from llmos_server.api.stored.query import check_names


@get(
    "/admin/v1/overview",
    guards=[require_admin],
    tags=["Administration"],
    summary="The server at one moment: its models, their figures and pages, its memory",
    responses={200: ResponseSpec(Overview, description="As it is now.")},
)
async def get_overview(request: AnyRequest) -> ASGIApp:
    return json_bytes_response(request, await services_of(request).live.overview.fresh())


@get(
    "/admin/v1/live",
    guards=[require_admin],
    tags=["Administration"],
    summary="The same again and again, as server-sent events",
    description="Events `overview`, the first one at once. interval: seconds between two, 0.1 to 60; 1 when absent.",
    responses={200: ResponseSpec(Overview, description="An event's data.", media_type=EVENT_STREAM)},
)
async def follow_overview(request: AnyRequest, interval: FromQuery[str | None] = None) -> ASGIApp:
    check_names(request, ("interval",))
    return open_live(request, "overview", services_of(request).live.overview.sample, read_interval(interval))
