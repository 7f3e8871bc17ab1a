"""Wire structs of what is stored: lists of items, what was deleted, conversations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from llmos_server.api.schemas.responses import Item, Metadata

MAX_NEW_ITEMS = 20
NewItems = Annotated[list[Item], Meta(max_length=MAX_NEW_ITEMS)]


class ItemList(Struct, kw_only=True):
    """A page. The ids are null when it is empty."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


class StoredItem(Struct, kw_only=True):
    """What all items have; the rest depends on the type."""

    id: str
    type: str


class DeletedResponse(Struct, kw_only=True):
    id: str
    object: Literal["response"] = "response"
    deleted: bool = True


class CreateConversationRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    metadata: Metadata | None = None
    items: NewItems | None = None


class UpdateConversationRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    metadata: Metadata


class CreateItemsRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    items: NewItems


class Conversation(Struct, kw_only=True):
    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    """Unix seconds."""
    metadata: dict[str, str]


class ListedConversation(Conversation, kw_only=True):
    changed_at: int
    """Unix seconds: when it, or an item, was last added, changed or taken away."""
    num_items: int


class ConversationList(Struct, kw_only=True):
    """A page. The ids are null when it is empty."""

    object: Literal["list"] = "list"
    data: list[ListedConversation]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedConversation(Struct, kw_only=True):
    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: bool = True


def item_list(items: list[dict[str, Any]], *, has_more: bool) -> ItemList:
    first, last = (items[0]["id"], items[-1]["id"]) if items else (None, None)
    return ItemList(data=items, first_id=first, last_id=last, has_more=has_more)
