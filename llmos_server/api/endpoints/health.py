"""GET /health, /ready, /version and /metrics."""

from __future__ import annotations

from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import PUBLIC
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.metrics.server_metrics import CONTENT_TYPE
from llmos_server.api.schemas.models import Health, Version
from llmos_server.api.services import services_of
from llmos_server.errors import EngineBusy, EngineFailed, ModelNotFound


@get(
    "/health",
    opt=PUBLIC,
    tags=["Server"],
    summary="Does the API live?",
    responses={200: ResponseSpec(Health, description="It does.")},
)
async def health(request: AnyRequest) -> ASGIApp:
    return json_response(request, Health(status="ok"))


@get(
    "/ready",
    opt=PUBLIC,
    tags=["Server"],
    summary="Does the default model answer?",
    responses={200: ResponseSpec(Health, description="It does."), 503: ERRORS[503]},
)
async def ready(request: AnyRequest) -> ASGIApp:
    try:
        served = services_of(request).directory.default()
    except ModelNotFound as error:
        raise EngineFailed(str(error)) from error
    state = served.engine.state
    if state in ("unloaded", "loading") and served.engine.info is not None:
        state = "ready"  # It was evicted; the next request for it has it loaded again.
    if state == "failed":
        raise EngineFailed(served.engine.load_failure)
    if state != "ready":
        raise EngineBusy(f"{served.id} is {state}.")
    return json_response(request, Health(status="ready"))


@get(
    "/version",
    opt=PUBLIC,
    tags=["Server"],
    summary="The server's version",
    responses={200: ResponseSpec(Version, description="It.")},
)
async def version(request: AnyRequest) -> ASGIApp:
    services = services_of(request)
    admin = services.model_admin
    home_id = None if admin is None else admin.home_id
    return json_response(request, Version(version=services.version, home_id=home_id))


@get("/metrics", tags=["Server"], summary="Prometheus metrics", media_type=CONTENT_TYPE)
async def metrics(request: AnyRequest) -> Response[bytes]:
    return Response(services_of(request).metrics.expose(), media_type=CONTENT_TYPE)
