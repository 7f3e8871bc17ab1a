"""/admin/v1/adapters: what was tuned, by whom; promoted to everybody, and taken back."""

from __future__ import annotations

import structlog
from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ASGIApp

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.api.adapters.details import read_details
from llmos_server.api.adapters.finding import describe_version, find_version, loaded_adapters
from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.admin_adapters import AdapterDetails, AdapterInfo, AdapterList, AdapterNameRequest
from llmos_server.api.services import Services, services_of, store_of
from llmos_server.store.owners import EVERYBODY

log = structlog.get_logger(__name__)

_OK = {200: ResponseSpec(AdapterInfo, description="The adapter, as it is now."), **{s: ERRORS[s] for s in (400, 404)}}


class AdapterBody(WireBody[AdapterNameRequest]):
    table = fields.ADAPTER_NAME


@get(
    "/admin/v1/adapters",
    guards=[require_admin],
    tags=["Administration"],
    summary="All adapters, whoever made them",
    responses={200: ResponseSpec(AdapterList, description="By name.")},
)
async def list_adapters(request: AnyRequest) -> ASGIApp:
    found = await store_of(request).adapters.list(EVERYBODY)
    loaded = loaded_adapters(services_of(request).directory)
    return json_response(
        request,
        AdapterList(data=[describe_version(adapter, loaded.get((adapter.base, adapter.digest))) for adapter in found]),
    )


@get(
    "/admin/v1/adapters/{adapter_name:path}",
    guards=[require_admin],
    tags=["Administration"],
    summary="All about one adapter: its content, its training, its aliases",
    responses={200: ResponseSpec(AdapterDetails, description="The adapter."), **{s: ERRORS[s] for s in (400, 404)}},
)
async def get_adapter(request: AnyRequest, adapter_name: FromPath[str], owner: FromQuery[str | None] = None) -> ASGIApp:
    store = store_of(request)
    adapter = await find_version(store.adapters, str(adapter_name).removeprefix("/"), owner)
    return json_response(request, await read_details(store, adapter, describe_adapter(services_of(request), adapter)))


@post(
    "/admin/v1/adapters/share",
    dto=AdapterBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Promote an adapter: everybody may use it, under its name",
    responses=_OK,
)
async def share_adapter(request: AnyRequest, data: JSONBody[AdapterNameRequest]) -> ASGIApp:
    return json_response(request, await _share(request, data, is_shared=True))


@post(
    "/admin/v1/adapters/unshare",
    dto=AdapterBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Take a promotion back: the key that made the adapter may use it, and nobody else",
    responses=_OK,
)
async def unshare_adapter(request: AnyRequest, data: JSONBody[AdapterNameRequest]) -> ASGIApp:
    return json_response(request, await _share(request, data, is_shared=False))


async def _share(request: AnyRequest, data: AdapterNameRequest, *, is_shared: bool) -> AdapterInfo:
    """Raises NotFound, InvalidRequest."""
    adapters = store_of(request).adapters
    adapter = await find_version(adapters, data.name, data.owner)
    await adapters.share(adapter.owner, adapter.name, is_shared=is_shared)
    log.info("adapter shared" if is_shared else "adapter unshared", adapter=adapter.name, owner=adapter.owner)
    return describe_adapter(services_of(request), await find_version(adapters, adapter.name, adapter.owner))


def describe_adapter(services: Services, adapter: AdapterVersion) -> AdapterInfo:
    loaded = loaded_adapters(services.directory)
    return describe_version(adapter, loaded.get((adapter.base, adapter.digest)))


ADAPTER_HANDLERS = [list_adapters, get_adapter, share_adapter, unshare_adapter]
