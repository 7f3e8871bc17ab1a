"""/admin/v1/promotions: names that applications ask for, put on a version, on the next, and back."""

from __future__ import annotations

import structlog
from litestar import delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from llmos_server.adapter_contracts import Promotion
from llmos_server.api.adapters import promoting
from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of, require_admin
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.admin_promotions import (
    AliasRequest,
    PromoteRequest,
    PromotionInfo,
    PromotionList,
    PromotionRemoved,
)
from llmos_server.api.services import services_of, store_of

log = structlog.get_logger(__name__)

_OK = {200: ResponseSpec(PromotionInfo, description="What answers now."), **ERRORS}


class PromoteBody(WireBody[PromoteRequest]):
    table = fields.PROMOTE


class AliasBody(WireBody[AliasRequest]):
    table = fields.ALIAS


@get(
    "/admin/v1/promotions",
    guards=[require_admin],
    tags=["Administration"],
    summary="All aliases that were promoted to, and what answers to each",
    responses={200: ResponseSpec(PromotionList, description="By alias.")},
)
async def list_promotions(request: AnyRequest) -> ASGIApp:
    found = await store_of(request).promotions.list()
    return json_response(request, PromotionList(data=list(map(describe_promotion, found))))


@get(
    "/admin/v1/promotions/{alias:str}",
    guards=[require_admin],
    tags=["Administration"],
    summary="What answered to an alias, the newest first",
    responses={200: ResponseSpec(PromotionList, description="The last 20 changes."), 404: ERRORS[404]},
)
async def get_promotions(request: AnyRequest, alias: FromPath[str]) -> ASGIApp:
    found = await store_of(request).promotions.history(str(alias))
    if not found:
        raise _unknown(str(alias))
    return json_response(request, PromotionList(data=list(map(describe_promotion, found))))


@post(
    "/admin/v1/promotions",
    dto=PromoteBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Have a model or an adapter answer to an alias from now on; requests that run end on what they began with",
    responses=_OK,
)
async def promote(request: AnyRequest, data: JSONBody[PromoteRequest]) -> ASGIApp:
    store, who = store_of(request), principal_of(request).key_id
    made = await promoting.promote(services_of(request), store, data.model, data.owner, data.alias, who)
    log.info("promoted", alias=made.alias, model=made.model, digest=made.digest)
    return json_response(request, describe_promotion(made))


@post(
    "/admin/v1/promotions/rollback",
    dto=AliasBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Have what answered before the last promotion answer to an alias again",
    responses=_OK,
)
async def roll_back(request: AnyRequest, data: JSONBody[AliasRequest]) -> ASGIApp:
    store, who = store_of(request), principal_of(request).key_id
    if await store.promotions.find(data.alias) is None:
        raise _unknown(data.alias)
    made = await promoting.roll_back(services_of(request), store, data.alias, who)
    log.info("rolled back", alias=made.alias, model=made.model, digest=made.digest)
    return json_response(request, describe_promotion(made))


@delete(
    "/admin/v1/promotions/{alias:str}",
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Take an alias away, with its history; what it led to stays",
    responses={200: ResponseSpec(PromotionRemoved, description="It is gone."), 404: ERRORS[404]},
)
async def remove_promotion(request: AnyRequest, alias: FromPath[str]) -> ASGIApp:
    if not await store_of(request).promotions.remove(str(alias)):
        raise _unknown(str(alias))
    log.info("demoted", alias=str(alias))
    return json_response(request, PromotionRemoved(alias=str(alias)))


def describe_promotion(made: Promotion) -> PromotionInfo:
    return PromotionInfo(
        alias=made.alias,
        number=made.number,
        action=made.action,
        model=made.model,
        base=None if made.adapter is None else made.adapter.base,
        owner=made.maker,
        digest=made.digest,
        previous=made.previous,
        made_by=made.made_by,
        created=made.created,
    )


def _unknown(alias: str) -> NotFound:
    return NotFound(f"Nothing was promoted to {alias[:100]!r}.", param="alias", code="alias_not_found")


PROMOTION_HANDLERS = [list_promotions, get_promotions, promote, roll_back, remove_promotion]
