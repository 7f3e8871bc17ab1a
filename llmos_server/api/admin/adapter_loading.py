"""POST /admin/v1/adapters/load and unload: ahead of the first request, and before the room is needed."""

from __future__ import annotations

import structlog
from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.api.adapters.adapted import adapt
from llmos_server.api.adapters.finding import find_version
from llmos_server.api.admin.adapters import AdapterBody, describe_adapter
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.admin_adapters import AdapterInfo, AdapterNameRequest
from llmos_server.api.services import Services, services_of, store_of

log = structlog.get_logger(__name__)

_OK = {200: ResponseSpec(AdapterInfo, description="The adapter, as it is now."), **ERRORS}


@post(
    "/admin/v1/adapters/load",
    dto=AdapterBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Load an adapter, and its base if need be; answers when it is ready",
    responses=_OK,
)
async def load_adapter(request: AnyRequest, data: JSONBody[AdapterNameRequest]) -> ASGIApp:
    services = services_of(request)
    adapter = await find_version(store_of(request).adapters, data.name, data.owner)
    await run_until_disconnect(request.receive, load(services, adapter))
    log.info("adapter loaded", adapter=adapter.name, digest=adapter.digest)
    return json_response(request, describe_adapter(services, adapter))


@post(
    "/admin/v1/adapters/unload",
    dto=AdapterBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Free an adapter's memory as soon as nobody uses it; answers when it is free",
    responses=_OK,
)
async def unload_adapter(request: AnyRequest, data: JSONBody[AdapterNameRequest]) -> ASGIApp:
    """The next request for it loads it again."""
    services = services_of(request)
    adapter = await find_version(store_of(request).adapters, data.name, data.owner)
    base = await services.directory.get(adapter.base)
    await run_until_disconnect(request.receive, base.generator.drop_adapter(adapter.digest))
    log.info("adapter unloaded", adapter=adapter.name, digest=adapter.digest)
    return json_response(request, describe_adapter(services, adapter))


async def load(services: Services, adapter: AdapterVersion) -> None:
    """Raises ModelNotFound where its base isn't here with its own weights, InvalidRequest when it can't be loaded, and
    as Generator.wait_ready does."""
    served = adapt(await services.directory.get(adapter.base), adapter)
    with served.generator.hold():
        await served.generator.wait_ready(services.settings.load_timeout_seconds)
        await served.generator.load_adapter(adapter.digest)


LOADING_HANDLERS = [load_adapter, unload_adapter]
