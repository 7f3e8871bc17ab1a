"""/admin/v1/requests: what is in flight; look at it, end it."""

from __future__ import annotations

import functools

import structlog
from litestar import delete, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp

from llmos_server.api.errors import AbortedByAdministrator, NotFound
from llmos_server.api.flights import Flight
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of, require_admin
from llmos_server.api.http.following import open_live, read_interval
from llmos_server.api.http.responses import ERRORS, json_bytes_response, json_response
from llmos_server.api.live.requests import describe_flight, seconds_between
from llmos_server.api.schemas.admin_requests import InFlightDetails, InFlightList, RequestAborted
from llmos_server.api.services import services_of
from llmos_server.api.stored.query import check_names, read_bool

log = structlog.get_logger(__name__)


@get(
    "/admin/v1/requests",
    guards=[require_admin],
    tags=["Administration"],
    summary="The requests in flight, oldest first",
    description="follow=true: server-sent events `requests`, each the whole list, one each `interval` seconds; "
    "of many requests less often: at most one a millisecond and request.",
    responses={200: ResponseSpec(InFlightList, description="At most 1000, and how many more there are.")},
)
async def list_requests(
    request: AnyRequest, follow: FromQuery[str | None] = None, interval: FromQuery[str | None] = None
) -> ASGIApp:
    check_names(request, ("follow", "interval"))
    services = services_of(request)
    sampler = services.live.requests
    if read_bool(request, "follow"):
        pace = functools.partial(seconds_between, services.flights)
        return open_live(request, "requests", sampler.sample, read_interval(interval), pace)
    return json_bytes_response(request, await sampler.fresh())


@get(
    "/admin/v1/requests/{request_id:path}",
    guards=[require_admin],
    tags=["Administration"],
    summary="One request in flight, and what it asked for, without its texts",
    responses={200: ResponseSpec(InFlightDetails, description="As it is now."), 404: ERRORS[404]},
)
async def get_request(request: AnyRequest, request_id: FromPath[str]) -> ASGIApp:
    return json_response(request, describe_flight(_find(request, str(request_id))))


@delete(
    "/admin/v1/requests/{request_id:path}",
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="End a request; its client is told so",
    responses={200: ResponseSpec(RequestAborted, description="It ends now."), 404: ERRORS[404]},
)
async def abort_request(request: AnyRequest, request_id: FromPath[str]) -> ASGIApp:
    flight = _find(request, str(request_id))
    flight.abort(AbortedByAdministrator())
    log.info("request aborted", aborted=flight.id, endpoint=flight.endpoint, by=principal_of(request).name)
    return json_response(request, RequestAborted(id=flight.id))


def _find(request: AnyRequest, request_id: str) -> Flight:
    name = request_id.removeprefix("/")
    flight = services_of(request).flights.find(name)
    if flight is None:
        raise NotFound(f"No request with the id {name!r} is in flight.", param="request_id", code="request_not_found")
    return flight
