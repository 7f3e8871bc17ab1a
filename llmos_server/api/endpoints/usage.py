"""The ledger over HTTP: /v1/usage for a key's own rows, /admin/v1/usage for everybody's."""

from __future__ import annotations

import time
from typing import cast, get_args

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp

from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of, require_admin
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.admin import UsageEntry, UsageReport
from llmos_server.api.services import store_of
from llmos_server.errors import InvalidRequest
from llmos_server.store.owners import EVERYBODY, Owner
from llmos_server.store.periods import parse_since
from llmos_server.store.usage import Grouping

_OK = {200: ResponseSpec(UsageReport, description="One entry a group, with its sums.")}


@get("/v1/usage", tags=["Usage"], summary="What the key that asks has used", responses=_OK)
async def own_usage(
    request: AnyRequest, since: FromQuery[str | None] = None, by: FromQuery[str | None] = None
) -> ASGIApp:
    return await _report(request, principal_of(request).key_id, since, by)


@get(
    "/v1/usage/{request_id:path}",
    tags=["Usage"],
    summary="What one request of this key has used",
    responses={200: ResponseSpec(UsageEntry, description="It, the last one with this id.")},
)
async def usage_of_request(request: AnyRequest, request_id: FromPath[str]) -> ASGIApp:
    name = str(request_id).removeprefix("/")
    usage = store_of(request).usage
    row = await usage.find(principal_of(request).key_id, name) if name.isprintable() else None
    if row is None:
        raise NotFound(f"No request of yours has the id {name!r}.", param="request_id", code="usage_not_found")
    return json_response(request, UsageEntry(usage=row))


@get(
    "/admin/v1/usage", guards=[require_admin], tags=["Administration"], summary="What all keys have used", responses=_OK
)
async def all_usage(
    request: AnyRequest,
    since: FromQuery[str | None] = None,
    by: FromQuery[str | None] = None,
    key: FromQuery[str | None] = None,
) -> ASGIApp:
    if key is not None and not key.isprintable():
        raise InvalidRequest("key is the id of a key.", param="key")
    return await _report(request, EVERYBODY if key is None else key, since, by)


async def _report(request: AnyRequest, owner: Owner, since: str | None, by: str | None) -> ASGIApp:
    if by not in (None, *get_args(Grouping)):
        raise InvalidRequest(f"by is one of {', '.join(get_args(Grouping))}.", param="by")
    start = parse_since(since, time.time())
    store = store_of(request)
    totals = await store.usage.totals(owner, since=start, by=cast(Grouping | None, by))
    removed = await store.removals.removed_before()
    return json_response(request, UsageReport(data=totals, removed_before=removed if removed > start else None))
