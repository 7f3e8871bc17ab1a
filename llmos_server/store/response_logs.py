"""Stored responses as a log of what was asked and answered: for jobs that measure them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import Read
from llmos_server.store.chains import chain_up_to, check_chain, items_of
from llmos_server.store.evals import behind
from llmos_server.store.objects import from_text
from llmos_server.store.state_tables import ConversationItemRow, ResponseRow

ROWS_AT_ONCE = 20
MAX_IDS = 500

_ROW = ResponseRow
_ITEM = ConversationItemRow


class LoggedResponse(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    created: int
    """Unix milliseconds: when it was stored."""
    response: dict[str, Any]
    input_items: list[dict[str, Any]]
    """Its own, without what came before."""


def reading_responses(
    owner: str, first: int, last: int, before: LoggedResponse | None
) -> Read[tuple[list[LoggedResponse], bool]]:
    """Finished ones, the newest first, some at a time; and whether there are more. first, last: Unix milliseconds,
    both included. before: the last one of the page before."""
    query = select(_ROW.id, _ROW.created, _ROW.response, _ROW.input_items)
    query = query.where(_ROW.owner == owner, _ROW.created >= first, _ROW.created <= last, _ROW.runner.is_(None))
    if before is not None:
        query = query.where(behind(_ROW.created, _ROW.id, before.created, before.id, "desc"))
    query = query.order_by(_ROW.created.desc(), _ROW.id.desc()).limit(ROWS_AT_ONCE)

    async def read(connection: AsyncConnection) -> tuple[list[LoggedResponse], bool]:
        rows = (await connection.execute(query)).all()
        found = [
            LoggedResponse(
                id=row.id,
                created=row.created,
                response=from_text(row.response),
                input_items=from_text(row.input_items),
            )
            for row in rows
        ]
        return found, len(rows) == ROWS_AT_ONCE

    return read


def reading_earlier(owner: str, logged: LoggedResponse, max_bytes: int) -> Read[list[dict[str, Any]]]:
    """Items that it went on from, the oldest first. Raises InvalidRequest where not all of them are kept."""
    previous = logged.response.get("previous_response_id")
    conversation = logged.response.get("conversation")

    async def read(connection: AsyncConnection) -> list[dict[str, Any]]:
        if previous is not None:
            rows = (await connection.execute(chain_up_to(owner, previous, max_bytes))).all()
            if not rows:
                raise InvalidRequest(f"The response {previous!r} was deleted.", code="previous_response_not_found")
            check_chain(rows, previous, max_bytes)
            return items_of(rows)
        if conversation is not None:
            return await _before(connection, owner, conversation["id"], logged)
        return []

    return read


async def _before(
    connection: AsyncConnection, owner: str, conversation_id: str, logged: LoggedResponse
) -> list[dict[str, Any]]:
    """What stands before it in its conversation."""
    of_conversation = (_ITEM.owner == owner, _ITEM.conversation_id == conversation_id)
    own = _own_ids([*logged.input_items, *logged.response.get("output", ())])
    place = select(func.min(_ITEM.position)).where(*of_conversation, _ITEM.id.in_(own))
    begin = (await connection.execute(place)).scalar_one()
    if begin is None:
        raise InvalidRequest("Its conversation was deleted, or its items there.", code="conversation_not_found")
    query = select(_ITEM.item).where(*of_conversation, _ITEM.position < begin).order_by(_ITEM.position)
    return [from_text(item) for item in (await connection.execute(query)).scalars()]


def _own_ids(items: Sequence[dict[str, Any]]) -> list[str]:
    ids = [item.get("id") for item in items if item.get("type") != "item_reference"]
    return [found for found in ids if isinstance(found, str)][:MAX_IDS]
