"""Stored responses, conversations and feedback that go: for their age, or with all of their key's; a few in a write."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Select, and_, delete, exists, func, not_, select, tuple_
from sqlalchemy.orm import aliased

from llmos_server.store.database import Database
from llmos_server.store.owners import EVERYBODY, Owner, of_owner
from llmos_server.store.state_tables import ConversationRow, FeedbackRow, ResponseRow

ObjectKind = Literal["responses", "conversations", "feedback"]
ObjectTable = type[ResponseRow] | type[ConversationRow] | type[FeedbackRow]

_TABLES: dict[str, ObjectTable] = {
    "responses": ResponseRow,
    "conversations": ConversationRow,
    "feedback": FeedbackRow,
}


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    num_objects: int
    num_bytes: int
    """Of their content as JSON."""


class ObjectRemovals:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, kind: ObjectKind, owner: Owner, before: int | None) -> Removed:
        """What remove() would take, called until nothing is left. before: Unix milliseconds; None is all of them."""
        table = _TABLES[kind]
        query: Select[Any] = select(func.count(), func.coalesce(func.sum(table.num_bytes), 0))
        if before is not None:
            query = query.where(_age(table) < before)
        if before is not None and kind == "responses":
            query = query.where(ResponseRow.runner.is_(None), not_(_is_gone_on_from(before)))
        async with self._database.read() as connection:
            number, size = (await connection.execute(of_owner(query, table, owner))).one()
        return Removed(kind=kind, num_objects=number, num_bytes=int(size))

    async def remove(self, kind: ObjectKind, owner: Owner, before: int | None, limit: int) -> Removed:
        """The oldest, at most `limit`. before: as above; with it a response stays as long as a younger one goes on from
        it, so a chain goes from its end."""
        table = _TABLES[kind]
        rows: Select[Any] = select(table.owner, table.id)
        found = of_owner(rows, table, owner).order_by(_age(table)).limit(limit)
        if before is not None:
            found = found.where(_age(table) < before)
        if before is not None and kind == "responses":
            found = found.where(ResponseRow.runner.is_(None), not_(_has_next()))
        gone = delete(table).where(tuple_(table.owner, table.id).in_(found)).returning(table.num_bytes)
        async with self._database.write() as connection:
            sizes = (await connection.execute(gone)).scalars().all()
        if sizes:
            self._database.note_deletion()
        return Removed(kind=kind, num_objects=len(sizes), num_bytes=sum(sizes))

    async def remove_old_responses(self, before: int, limit: int) -> int:
        return (await self.remove("responses", EVERYBODY, before, limit)).num_objects

    async def remove_old_conversations(self, before: int, limit: int) -> int:
        return (await self.remove("conversations", EVERYBODY, before, limit)).num_objects

    async def remove_old_feedback(self, before: int, limit: int) -> int:
        return (await self.remove("feedback", EVERYBODY, before, limit)).num_objects


def _age(table: ObjectTable) -> Any:
    """A conversation that is used stays young."""
    return table.changed if issubclass(table, ConversationRow) else table.created


def _has_next() -> ColumnElement[bool]:
    later = aliased(ResponseRow)
    return exists().where(later.owner == ResponseRow.owner, later.previous_id == ResponseRow.id)


def _is_gone_on_from(before: int) -> ColumnElement[bool]:
    """By one that stays, however far."""
    row = ResponseRow
    parents: Select[Any] = select(row.owner, row.previous_id.label("id")).where(
        row.previous_id.is_not(None), (row.created >= before) | row.runner.is_not(None)
    )
    kept = parents.cte("kept", recursive=True)
    kept = kept.union(
        select(row.owner, row.previous_id.label("id")).where(
            and_(row.owner == kept.c.owner, row.id == kept.c.id, row.previous_id.is_not(None))
        )
    )
    outer = ResponseRow
    return exists().where(kept.c.owner == outer.owner, kept.c.id == outer.id).correlate(outer)
