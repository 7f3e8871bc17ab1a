"""/v1/conversations: what belongs together over many responses."""

from __future__ import annotations

from litestar import delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ASGIApp

from llmos_server.api.agents.keeping import require_keeping
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.stored import (
    Conversation,
    ConversationList,
    CreateConversationRequest,
    DeletedConversation,
    ListedConversation,
    UpdateConversationRequest,
)
from llmos_server.api.services import store_of
from llmos_server.api.stored.fields import CREATE_CONVERSATION, UPDATE_CONVERSATION
from llmos_server.api.stored.query import PAGE, check_names, read_page
from llmos_server.api.stored.shapes import read_new_items
from llmos_server.errors import InvalidRequest
from llmos_server.store import conversations as stored

TAGS = ["Conversations"]
ERROR_SPECS = {status: ERRORS[status] for status in (400, 404, 503)}
OK = {200: ResponseSpec(Conversation, description="The conversation, without its items."), **ERROR_SPECS}


class CreateConversationBody(WireBody[CreateConversationRequest]):
    table = CREATE_CONVERSATION


class UpdateConversationBody(WireBody[UpdateConversationRequest]):
    table = UPDATE_CONVERSATION


@post(
    "/v1/conversations",
    dto=CreateConversationBody,
    return_dto=None,
    status_code=200,
    tags=TAGS,
    summary="Make a conversation",
    responses=OK,
)
async def create_conversation(request: AnyRequest, data: JSONBody[CreateConversationRequest]) -> ASGIApp:
    require_keeping(request)
    items = read_new_items(data.items or [])
    made = await store_of(request).conversations.create(principal_of(request).key_id, data.metadata or {}, items)
    return json_response(request, describe(made))


@get(
    "/v1/conversations",
    tags=TAGS,
    summary="The conversations of this key, a page at a time",
    description="OpenAI has no such list. Without items; a title is a matter of metadata.",
    responses={200: ResponseSpec(ConversationList, description="The newest first."), **ERROR_SPECS},
)
async def list_conversations(
    request: AnyRequest,
    after: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
    order: FromQuery[str | None] = None,
) -> ASGIApp:
    check_names(request, PAGE)
    page = read_page(request)
    found = await store_of(request).conversations.list(
        principal_of(request).key_id, after=page.after, limit=page.limit, order=page.order
    )
    if found is None:
        raise InvalidRequest(f"after: no conversation of yours has the id {page.after!r}.", param="after")
    data = [_describe_listed(one) for one in found.conversations]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return json_response(request, ConversationList(data=data, first_id=first, last_id=last, has_more=found.has_more))


@get("/v1/conversations/{conversation_id:str}", tags=TAGS, summary="A conversation", responses=OK)
async def get_conversation(request: AnyRequest, conversation_id: FromPath[str]) -> ASGIApp:
    return json_response(request, describe(await find_conversation(request, conversation_id)))


@post(
    "/v1/conversations/{conversation_id:str}",
    dto=UpdateConversationBody,
    return_dto=None,
    status_code=200,
    tags=TAGS,
    summary="Give a conversation other metadata",
    responses=OK,
)
async def update_conversation(
    request: AnyRequest, conversation_id: FromPath[str], data: JSONBody[UpdateConversationRequest]
) -> ASGIApp:
    require_keeping(request)
    owner = principal_of(request).key_id
    changed = await store_of(request).conversations.update(owner, conversation_id, data.metadata)
    if changed is None:
        raise missing(conversation_id)
    return json_response(request, describe(changed))


@delete(
    "/v1/conversations/{conversation_id:str}",
    status_code=200,
    tags=TAGS,
    summary="Delete a conversation with its items",
    responses={200: ResponseSpec(DeletedConversation, description="It was there, and is no more."), **ERROR_SPECS},
)
async def delete_conversation(request: AnyRequest, conversation_id: FromPath[str]) -> ASGIApp:
    if not await store_of(request).conversations.delete(principal_of(request).key_id, conversation_id):
        raise missing(conversation_id)
    return json_response(request, DeletedConversation(id=conversation_id))


async def find_conversation(request: AnyRequest, conversation_id: str) -> stored.Conversation:
    """Raises NotFound for another key's, too."""
    found = await store_of(request).conversations.get(principal_of(request).key_id, conversation_id)
    if found is None:
        raise missing(conversation_id)
    return found


def missing(conversation_id: str) -> NotFound:
    return NotFound(
        f"No conversation of yours has the id {conversation_id!r}.",
        param="conversation_id",
        code="conversation_not_found",
    )


def describe(found: stored.Conversation) -> Conversation:
    return Conversation(id=found.id, created_at=found.created // 1000, metadata=found.metadata)


def _describe_listed(found: stored.ListedConversation) -> ListedConversation:
    return ListedConversation(
        id=found.id,
        created_at=found.created // 1000,
        changed_at=found.changed // 1000,
        metadata=found.metadata,
        num_items=found.num_items,
    )
