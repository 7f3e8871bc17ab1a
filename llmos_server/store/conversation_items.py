"""Statements for the items of one conversation, within a connection of the caller's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.errors import InvalidRequest
from llmos_server.store.objects import can_be_id, check_size, now_milliseconds, num_bytes, to_text
from llmos_server.store.quota import Quota
from llmos_server.store.state_tables import MAX_ID_LENGTH, ConversationItemRow, ConversationRow

MAX_ITEMS = 10_000
"""In one conversation."""


class Room(NamedTuple):
    """For more items."""

    max_bytes: int
    """Of one conversation."""
    quota: Quota


def check_new(items: Sequence[Mapping[str, Any]]) -> None:
    """Raises InvalidRequest unless each has an id of its own."""
    seen: set[str] = set()
    for place, item in enumerate(items):
        item_id = str(item["id"])
        if not can_be_id(item_id):
            raise InvalidRequest(
                f"items[{place}].id: 1 to {MAX_ID_LENGTH} characters that can be printed.", param=f"items[{place}].id"
            )
        if item_id in seen:
            raise _duplicate(item_id)
        seen.add(item_id)


async def add(
    connection: AsyncConnection, owner: str, conversation_id: str, items: Sequence[Mapping[str, Any]], room: Room
) -> bool:
    """In a transaction, which has to be given up when this raises. The conversation's row is taken first, so that
    writers of one conversation take turns. False when there is no such conversation."""
    texts = [to_text(item) for item in items]
    sizes = [num_bytes(text) for text in texts]
    row = ConversationRow
    grown = {
        "num_items": row.num_items + len(items),
        "num_bytes": row.num_bytes + sum(sizes),
        "next_position": row.next_position + len(items),
    }
    change = update(row).where(row.owner == owner, row.id == conversation_id)
    change = change.values(**grown, changed=now_milliseconds())
    returned = change.returning(row.num_items, row.num_bytes, row.next_position)
    found = (await connection.execute(returned)).first()
    if found is None:
        return False
    if items:
        _check_room(found, room.max_bytes)
        await room.quota.check(connection, owner, 0)
        await _require_new(connection, owner, conversation_id, [str(item["id"]) for item in items])
        first = found.next_position - len(items)
        of = {"owner": owner, "conversation_id": conversation_id}
        rows = [
            {**of, "id": item["id"], "position": first + place, "item": text, "num_bytes": size}
            for place, (item, text, size) in enumerate(zip(items, texts, sizes, strict=True))
        ]
        await connection.execute(insert(ConversationItemRow), rows)
    return True


async def page(
    connection: AsyncConnection, owner: str, conversation_id: str, after: str | None, limit: int | None, order: str
) -> list[str]:
    """One more than `limit` when there are more. Raises InvalidRequest for an unknown `after`."""
    row = ConversationItemRow
    of = (row.owner == owner, row.conversation_id == conversation_id)
    query = select(row.item).where(*of)
    if after is not None:
        place = select(row.position).where(*of, row.id == after)
        start = (await connection.execute(place)).scalar() if can_be_id(after) else None
        if start is None:
            raise InvalidRequest(f"after: the conversation {conversation_id!r} has no item {after!r}.", param="after")
        query = query.where(row.position > start if order == "asc" else row.position < start)
    query = query.order_by(row.position if order == "asc" else row.position.desc())
    return list((await connection.execute(query if limit is None else query.limit(limit + 1))).scalars())


def _check_room(row: Any, max_bytes: int) -> None:
    remedy = "Start another conversation, or delete items of this one."
    if row.num_items > MAX_ITEMS:
        raise InvalidRequest(
            f"The conversation would have {row.num_items} items, and may have {MAX_ITEMS}. {remedy}",
            param="items",
            code="object_too_large",
        )
    check_size("The conversation", row.num_bytes, max_bytes, param="items", remedy=remedy)


async def _require_new(connection: AsyncConnection, owner: str, conversation_id: str, ids: list[str]) -> None:
    row = ConversationItemRow
    there = select(row.id).where(row.owner == owner, row.conversation_id == conversation_id, row.id.in_(ids)).limit(1)
    if (found := (await connection.execute(there)).scalar()) is not None:
        raise _duplicate(found)


def _duplicate(item_id: str) -> InvalidRequest:
    return InvalidRequest(
        f"An item with the id {item_id!r} is in the conversation already. Send it without an id to have it twice.",
        param="items",
        code="duplicate_item",
    )
