"""Conversations: metadata, and items in the order in which they were added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.settings import StorageSettings
from llmos_server.store.conversation_items import Room, add, check_new, page
from llmos_server.store.database import Database
from llmos_server.store.objects import can_be_id, from_text, new_id, now_milliseconds, num_bytes, to_text
from llmos_server.store.quota import Quota
from llmos_server.store.state_tables import ConversationItemRow, ConversationRow

Items = Sequence[Mapping[str, Any]]

_ROW, _ITEM = ConversationRow, ConversationItemRow
_ONE = (_ROW.owner == bindparam("of_owner"), _ROW.id == bindparam("of_id"))
_BY_ID = select(_ROW.id, _ROW.pairs, _ROW.created).where(*_ONE)
_LISTED = (_ROW.id, _ROW.pairs, _ROW.created, _ROW.changed, _ROW.num_items)
_ONE_ITEM = (
    _ITEM.owner == bindparam("of_owner"),
    _ITEM.conversation_id == bindparam("of_id"),
    _ITEM.id == bindparam("item"),
)


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    metadata: dict[str, str]
    created: int
    """Unix milliseconds."""


class ListedConversation(Conversation, frozen=True, kw_only=True):
    changed: int
    """Unix milliseconds: when it, or an item, was last added, changed or taken away."""
    num_items: int


class ConversationPage(msgspec.Struct, frozen=True):
    conversations: Sequence[ListedConversation]
    has_more: bool


class ItemPage(msgspec.Struct, frozen=True):
    items: list[dict[str, Any]]
    has_more: bool


class ConversationRepository:
    """Whose it is comes first, always; what is another owner's isn't there."""

    def __init__(self, database: Database, settings: StorageSettings, quota: Quota) -> None:
        self._database = database
        self._room = Room(settings.max_object_bytes, quota)
        self._quota = quota

    async def create(self, owner: str, metadata: Mapping[str, str], items: Items = ()) -> Conversation:
        """items: with ids, as add_items takes them. Raises InvalidRequest when they are too large together, and
        Forbidden when the owner has stored too much."""
        check_new(items)
        now = now_milliseconds()
        made = Conversation(id=new_id("conv"), metadata=dict(metadata), created=now)
        pairs = to_text(metadata)
        values = {"num_items": 0, "num_bytes": num_bytes(pairs), "next_position": 0, "created": now, "changed": now}
        row = insert(_ROW).values(owner=owner, id=made.id, pairs=pairs, **values)
        async with self._database.write() as connection:
            await self._quota.check(connection, owner, num_bytes(pairs))
            await connection.execute(row)
            await add(connection, owner, made.id, items, self._room)
        return made

    async def get(self, owner: str, conversation_id: str) -> Conversation | None:
        if not can_be_id(conversation_id):
            return None
        row = await self._database.first(_BY_ID, _values(owner, conversation_id))
        return None if row is None else _to_conversation(row)

    async def list(
        self, owner: str, *, after: str | None = None, limit: int = 20, order: str = "desc"
    ) -> ConversationPage | None:
        """By age; "desc" is the newest first. after: a conversation's id, the last one of the page before. None for an
        unknown `after`."""
        query = select(*_LISTED).where(_ROW.owner == owner)
        async with self._database.read() as connection:
            if after is not None:
                start = (await connection.execute(_BY_ID, _values(owner, after))).first() if can_be_id(after) else None
                if start is None:
                    return None
                query = query.where(_behind(start, order))
            columns = (_ROW.created, _ROW.id)
            query = query.order_by(*(columns if order == "asc" else [column.desc() for column in columns]))
            rows = (await connection.execute(query.limit(limit + 1))).all()
        kept = [_to_listed(row) for row in rows[:limit]]
        return ConversationPage(kept, has_more=len(kept) < len(rows))

    async def update(self, owner: str, conversation_id: str, metadata: Mapping[str, str]) -> Conversation | None:
        """All its metadata anew; None when there is no such conversation. Raises Forbidden when the owner has stored
        too much."""
        if not can_be_id(conversation_id):
            return None
        values, pairs = _values(owner, conversation_id), to_text(metadata)
        async with self._database.write() as connection:
            found = (await connection.execute(_BY_ID.with_for_update(), values)).first()
            if found is None:
                return None
            grown = num_bytes(pairs) - num_bytes(found.pairs)
            await self._quota.check(connection, owner, grown)
            change = {"pairs": pairs, "num_bytes": _ROW.num_bytes + grown, "changed": now_milliseconds()}
            await connection.execute(update(_ROW).where(*_ONE).values(**change), values)
        return await self.get(owner, conversation_id)

    async def delete(self, owner: str, conversation_id: str) -> bool:
        """With its items; whether it was there."""
        if not can_be_id(conversation_id):
            return False
        async with self._database.write() as connection:
            done = await connection.execute(delete(_ROW).where(*_ONE), _values(owner, conversation_id))
        self._database.note_deletion()
        return done.rowcount > 0

    async def add_items(self, owner: str, conversation_id: str, items: Items) -> bool:
        """At its end; each has an "id" that no other of it has. All of them or none; False when there is no such
        conversation. Raises InvalidRequest for an id that is there, and for a conversation that would be too large;
        Forbidden when the owner has stored too much."""
        check_new(items)
        if not can_be_id(conversation_id):
            return False
        async with self._database.write() as connection:
            return await add(connection, owner, conversation_id, items, self._room)

    async def list_items(
        self,
        owner: str,
        conversation_id: str,
        *,
        after: str | None = None,
        limit: int | None = None,
        order: str = "asc",
    ) -> ItemPage | None:
        """after: an item's id, the last one of the page before, in this order. limit: None is all. order: "asc" or
        "desc". None when there is no such conversation. Raises InvalidRequest for an unknown `after`."""
        if await self.get(owner, conversation_id) is None:
            return None
        async with self._database.read() as connection:
            texts = await page(connection, owner, conversation_id, after, limit, order)
        kept = texts if limit is None else texts[:limit]
        return ItemPage([from_text(text) for text in kept], has_more=len(kept) < len(texts))

    async def get_item(self, owner: str, conversation_id: str, item_id: str) -> dict[str, Any] | None:
        if not (can_be_id(conversation_id) and can_be_id(item_id)):
            return None
        values = _values(owner, conversation_id) | {"item": item_id}
        row = await self._database.first(select(_ITEM.item).where(*_ONE_ITEM), values)
        return None if row is None else from_text(row.item)

    async def delete_item(self, owner: str, conversation_id: str, item_id: str) -> bool:
        """Whether it was there."""
        if not (can_be_id(conversation_id) and can_be_id(item_id)):
            return False
        values = _values(owner, conversation_id)
        async with self._database.write() as connection:
            size = await _take_size(connection, values | {"item": item_id})
            if size is None:
                return False
            shrunk = {"num_items": _ROW.num_items - 1, "num_bytes": _ROW.num_bytes - size}
            change = update(_ROW).where(*_ONE).values(**shrunk, changed=now_milliseconds())
            await connection.execute(change, values)
        self._database.note_deletion()
        return True


async def _take_size(connection: AsyncConnection, values: dict[str, str]) -> int | None:
    """Delete an item; how many bytes it had, or None when it isn't there."""
    gone = delete(_ITEM).where(*_ONE_ITEM).returning(_ITEM.num_bytes)
    return (await connection.execute(gone, values)).scalar()


def _values(owner: str, conversation_id: str) -> dict[str, str]:
    return {"of_owner": owner, "of_id": conversation_id}


def _to_conversation(row: Any) -> Conversation:
    return Conversation(id=row.id, metadata=from_text(row.pairs), created=row.created)


def _to_listed(row: Any) -> ListedConversation:
    return ListedConversation(
        id=row.id, metadata=from_text(row.pairs), created=row.created, changed=row.changed, num_items=row.num_items
    )


def _behind(start: Any, order: str) -> ColumnElement[bool]:
    """Those after it in this order."""
    if order == "asc":
        return or_(_ROW.created > start.created, and_(_ROW.created == start.created, _ROW.id > start.id))
    return or_(_ROW.created < start.created, and_(_ROW.created == start.created, _ROW.id < start.id))
