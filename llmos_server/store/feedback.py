"""What users say about answers: kept with the messages and the answer, so that it can be trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Select, and_, delete, insert, or_, select

from llmos_server.settings import StorageSettings
from llmos_server.store.database import Database
from llmos_server.store.objects import can_be_id, check_size, from_text, new_id, now_milliseconds, num_bytes, to_text
from llmos_server.store.owners import Owner, of_owner
from llmos_server.store.quota import Quota
from llmos_server.store.state_tables import FeedbackRow

MAX_PAGE_BYTES = 16 * 2**20
"""Of content in one page, or one row of it."""

_ROW = FeedbackRow
_HEAD = (_ROW.owner, _ROW.id, _ROW.num_bytes)
_ALL = (_ROW.owner, _ROW.id, _ROW.content, _ROW.created)


class StoredFeedback(msgspec.Struct, frozen=True, kw_only=True):
    owner: str
    id: str
    content: dict[str, Any]
    created: int
    """Unix milliseconds."""


class FeedbackPage(msgspec.Struct, frozen=True):
    rows: list[StoredFeedback]
    has_more: bool


class FeedbackRepository:
    """Whose it is comes first. EVERYBODY is for administrators: feedback is given to them."""

    def __init__(self, database: Database, settings: StorageSettings, quota: Quota) -> None:
        self._database = database
        self._quota = quota
        self._max_bytes = settings.max_object_bytes

    async def add(self, owner: str, model: str, rating: int | None, content: Mapping[str, Any]) -> StoredFeedback:
        """content: all of it, model and rating included. Raises InvalidRequest when it is too large to be kept, and
        Forbidden when the owner has stored too much."""
        text = to_text(content)
        size = num_bytes(text)
        check_size("The feedback", size, self._max_bytes, param="messages", remedy="Send fewer messages.")
        made = StoredFeedback(owner=owner, id=new_id("fb"), content=dict(content), created=now_milliseconds())
        values = {"model": model, "rating": rating, "content": text, "num_bytes": size, "created": made.created}
        async with self._database.write() as connection:
            await self._quota.check(connection, owner, size)
            await connection.execute(insert(_ROW).values(owner=owner, id=made.id, **values))
        return made

    async def get(self, owner: Owner, feedback_id: str) -> StoredFeedback | None:
        if not can_be_id(feedback_id):
            return None
        async with self._database.read() as connection:
            query: Select[Any] = select(*_ALL).where(_ROW.id == feedback_id)
            row = (await connection.execute(of_owner(query, _ROW, owner))).first()
        return None if row is None else _to_feedback(row)

    async def delete(self, owner: Owner, feedback_id: str) -> bool:
        """Whether it was there."""
        if not can_be_id(feedback_id):
            return False
        gone = delete(_ROW).where(_ROW.id == feedback_id)
        if isinstance(owner, str):
            gone = gone.where(_ROW.owner == owner)
        async with self._database.write() as connection:
            done = await connection.execute(gone)
        self._database.note_deletion()
        return done.rowcount > 0

    async def list(
        self,
        owner: Owner,
        *,
        after: str | None = None,
        limit: int = 20,
        order: str = "desc",
        model: str | None = None,
        rating: int | None = None,
    ) -> FeedbackPage | None:
        """By age; "desc" is the newest first. after: an id, the last one of the page before. model, rating: only such.
        A page may be shorter than its limit where its rows are large. None for an unknown `after`."""
        query: Select[Any] = of_owner(select(*_HEAD), _ROW, owner)
        if model is not None:
            query = query.where(_ROW.model == model)
        if rating is not None:
            query = query.where(_ROW.rating == rating)
        async with self._database.read() as connection:
            if after is not None:
                place: Select[Any] = select(_ROW.created, _ROW.id).where(_ROW.id == after)
                found = can_be_id(after) and (await connection.execute(of_owner(place, _ROW, owner))).first()
                if not found:
                    return None
                query = query.where(_behind(found, order))
            columns = (_ROW.created, _ROW.id)
            query = query.order_by(*(columns if order == "asc" else [column.desc() for column in columns]))
            heads = (await connection.execute(query.limit(limit + 1))).all()
            kept = _fitting(heads[:limit])
            rows = (await connection.execute(select(*_ALL).where(_ROW.id.in_([head.id for head in kept])))).all()
        by_id = {(row.owner, row.id): _to_feedback(row) for row in rows}
        return FeedbackPage(
            [by_id[head.owner, head.id] for head in kept if (head.owner, head.id) in by_id], len(kept) < len(heads)
        )


def _behind(place: Any, order: str) -> Any:
    if order == "asc":
        return or_(_ROW.created > place.created, and_(_ROW.created == place.created, _ROW.id > place.id))
    return or_(_ROW.created < place.created, and_(_ROW.created == place.created, _ROW.id < place.id))


def _fitting(heads: Any) -> list[Any]:
    kept: list[Any] = []
    total = 0
    for head in heads:
        total += head.num_bytes
        if kept and total > MAX_PAGE_BYTES:
            break
        kept.append(head)
    return kept


def _to_feedback(row: Any) -> StoredFeedback:
    return StoredFeedback(owner=row.owner, id=row.id, content=from_text(row.content), created=row.created)
