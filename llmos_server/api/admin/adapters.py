"""/admin/v1/adapters: what was tuned, by whom; promoted to everybody, and taken back."""

from __future__ import annotations

import structlog
from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.adapter_contracts import AdapterVersion, LoadedAdapter
from llmos_server.api.adapters.finding import find_version, loaded_adapters
from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.admin_adapters import AdapterInfo, AdapterList, AdapterNameRequest
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
    return json_response(request, AdapterList(data=[_describe(adapter, loaded) for adapter in found]))


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
    return _describe(adapter, loaded_adapters(services.directory))


def _describe(adapter: AdapterVersion, loaded: dict[tuple[str, str], LoadedAdapter]) -> AdapterInfo:
    found = loaded.get((adapter.base, adapter.digest))
    return AdapterInfo(
        name=adapter.name,
        base=adapter.base,
        owner=adapter.owner,
        is_shared=adapter.is_shared,
        digest=adapter.digest,
        rank=adapter.rank,
        num_bytes=adapter.num_bytes,
        job_id=adapter.job_id,
        created=adapter.created,
        is_loaded=found is not None,
        loaded_bytes=0 if found is None else found.num_bytes,
        last_used=None if found is None else found.last_used,
    )


ADAPTER_HANDLERS = [list_adapters, share_adapter, unshare_adapter]
