"""/v1/conversations/{id}/items: what was said, in its order."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ASGIApp

from llmos_server.api.agents.keeping import require_keeping
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.responses import json_bytes_response, json_response
from llmos_server.api.schemas.stored import CreateItemsRequest, ItemList, StoredItem, item_list
from llmos_server.api.services import store_of
from llmos_server.api.stored.conversations import ERROR_SPECS, OK, TAGS, describe, find_conversation, missing
from llmos_server.api.stored.fields import CREATE_ITEMS
from llmos_server.api.stored.including import check_include
from llmos_server.api.stored.query import PAGE, check_names, read_page
from llmos_server.api.stored.shapes import read_new_items, to_resource

_ITEMS = "/v1/conversations/{conversation_id:str}/items"
_ONE_ITEM = f"{_ITEMS}/{{item_id:str}}"
_LIST = {200: ResponseSpec(ItemList, description="A page of items."), **ERROR_SPECS}


class CreateItemsBody(WireBody[CreateItemsRequest]):
    table = CREATE_ITEMS


@post(
    _ITEMS,
    dto=CreateItemsBody,
    return_dto=None,
    status_code=200,
    tags=TAGS,
    summary="Add up to 20 items to a conversation",
    responses={200: ResponseSpec(ItemList, description="They, as they are stored."), **ERROR_SPECS},
)
async def create_items(
    request: AnyRequest,
    conversation_id: FromPath[str],
    data: JSONBody[CreateItemsRequest],
    include: FromQuery[list[str] | None] = None,
) -> ASGIApp:
    check_names(request, ("include",))
    check_include(request)
    require_keeping(request)
    items = read_new_items(data.items)
    owner = principal_of(request).key_id
    if not await store_of(request).conversations.add_items(owner, conversation_id, items):
        raise missing(conversation_id)
    return json_response(request, item_list(items, has_more=False))


@get(_ITEMS, tags=TAGS, summary="A conversation's items, a page at a time", responses=_LIST)
async def list_items(
    request: AnyRequest,
    conversation_id: FromPath[str],
    after: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
    order: FromQuery[str | None] = None,
    include: FromQuery[list[str] | None] = None,
) -> ASGIApp:
    check_names(request, (*PAGE, "include"))
    check_include(request)
    page = read_page(request)
    found = await store_of(request).conversations.list_items(
        principal_of(request).key_id, conversation_id, after=page.after, limit=page.limit, order=page.order
    )
    if found is None:
        raise missing(conversation_id)
    return json_response(request, item_list([to_resource(item) for item in found.items], has_more=found.has_more))


@get(
    _ONE_ITEM,
    tags=TAGS,
    summary="One item of a conversation",
    responses={200: ResponseSpec(StoredItem, description="The item, with the fields of its type."), **ERROR_SPECS},
)
async def get_item(
    request: AnyRequest,
    conversation_id: FromPath[str],
    item_id: FromPath[str],
    include: FromQuery[list[str] | None] = None,
) -> ASGIApp:
    check_names(request, ("include",))
    check_include(request)
    await find_conversation(request, conversation_id)
    owner = principal_of(request).key_id
    item = await store_of(request).conversations.get_item(owner, conversation_id, item_id)
    if item is None:
        raise _missing_item(conversation_id, item_id)
    return json_bytes_response(request, msgspec.json.encode(to_resource(item)))


@delete(_ONE_ITEM, status_code=200, tags=TAGS, summary="Take one item out of a conversation", responses=OK)
async def delete_item(request: AnyRequest, conversation_id: FromPath[str], item_id: FromPath[str]) -> ASGIApp:
    conversation = await find_conversation(request, conversation_id)
    owner = principal_of(request).key_id
    if not await store_of(request).conversations.delete_item(owner, conversation_id, item_id):
        raise _missing_item(conversation_id, item_id)
    return json_response(request, describe(conversation))


def _missing_item(conversation_id: str, item_id: str) -> NotFound:
    return NotFound(
        f"The conversation {conversation_id!r} has no item {item_id!r}.", param="item_id", code="item_not_found"
    )
