"""/admin/v1/adapters: what was tuned, by whom; promoted to everybody, and taken back."""

from __future__ import annotations

import structlog
from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.admin_adapters import AdapterInfo, AdapterList, ShareAdapterRequest
from llmos_server.api.services import store_of
from llmos_server.store.owners import EVERYBODY

log = structlog.get_logger(__name__)

_OK = {200: ResponseSpec(AdapterInfo, description="The adapter, as it is now."), **{s: ERRORS[s] for s in (400, 404)}}


class ShareAdapterBody(WireBody[ShareAdapterRequest]):
    table = fields.SHARE_ADAPTER


@get(
    "/admin/v1/adapters",
    guards=[require_admin],
    tags=["Administration"],
    summary="All adapters, whoever made them",
    responses={200: ResponseSpec(AdapterList, description="By name.")},
)
async def list_adapters(request: AnyRequest) -> ASGIApp:
    found = await store_of(request).adapters.list(EVERYBODY)
    return json_response(request, AdapterList(data=[describe_adapter(adapter) for adapter in found]))


@post(
    "/admin/v1/adapters/share",
    dto=ShareAdapterBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Promote an adapter: everybody may use it, under its name",
    responses=_OK,
)
async def share_adapter(request: AnyRequest, data: JSONBody[ShareAdapterRequest]) -> ASGIApp:
    return json_response(request, await _share(request, data, is_shared=True))


@post(
    "/admin/v1/adapters/unshare",
    dto=ShareAdapterBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Take a promotion back: the key that made the adapter may use it, and nobody else",
    responses=_OK,
)
async def unshare_adapter(request: AnyRequest, data: JSONBody[ShareAdapterRequest]) -> ASGIApp:
    return json_response(request, await _share(request, data, is_shared=False))


async def _share(request: AnyRequest, data: ShareAdapterRequest, *, is_shared: bool) -> AdapterInfo:
    """Raises NotFound, InvalidRequest."""
    adapters = store_of(request).adapters
    if not await adapters.share(data.owner, data.name, is_shared=is_shared):
        raise NotFound(f"No adapter of this owner is named {data.name[:100]!r}.", param="name", code="model_not_found")
    log.info("adapter shared" if is_shared else "adapter unshared", adapter=data.name, owner=data.owner)
    found = next(one for one in await adapters.of_name(data.name) if one.owner == data.owner)
    return describe_adapter(found)


def describe_adapter(adapter: AdapterVersion) -> AdapterInfo:
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
    )


ADAPTER_HANDLERS = [list_adapters, share_adapter, unshare_adapter]
