"""Evaluations, as the database knows them: what is measured by what. Their runs are in eval_runs.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from sqlalchemy import Select, and_, delete, func, insert, or_, select, update

from llmos_server.errors import InvalidRequest
from llmos_server.settings import StorageSettings
from llmos_server.store.database import Database
from llmos_server.store.eval_tables import EvalItemRow, EvalRow, EvalRunRow
from llmos_server.store.objects import can_be_id, check_size, from_text, new_id, now_milliseconds, num_bytes, to_text
from llmos_server.store.owners import Owner, of_owner
from llmos_server.store.quota import Quota

_ROW = EvalRow
_COLUMNS = EvalRow.__table__
OrderBy = Literal["created_at", "updated_at"]


class StoredEval(msgspec.Struct, frozen=True, kw_only=True):
    owner: str
    id: str
    name: str
    content: dict[str, Any]
    """data_source_config, testing_criteria, metadata."""
    created: int
    changed: int
    """Unix milliseconds, both."""


class EvalPage(msgspec.Struct, frozen=True):
    evals: list[StoredEval]
    has_more: bool


class EvalRepository:
    """Whose it is comes first, always; what is another owner's isn't there."""

    def __init__(self, database: Database, settings: StorageSettings, quota: Quota) -> None:
        self._database = database
        self._quota = quota
        self._max_bytes = settings.max_object_bytes

    async def add(self, owner: str, name: str, content: Mapping[str, Any]) -> StoredEval:
        """Raises InvalidRequest when it is too large to be kept, and Forbidden when the owner has stored too much."""
        text, now, eval_id = self._to_text(content), now_milliseconds(), new_id("eval")
        size = num_bytes(text)
        values = {"name": name, "content": text, "num_bytes": size, "created": now, "changed": now}
        async with self._database.write() as connection:
            await self._quota.check(connection, owner, size)
            await connection.execute(insert(_ROW).values(owner=owner, id=eval_id, **values))
        return StoredEval(owner=owner, id=eval_id, name=name, content=dict(content), created=now, changed=now)

    async def get(self, owner: str, eval_id: str) -> StoredEval | None:
        if not can_be_id(eval_id):
            return None
        row = await self._database.first(select(_COLUMNS).where(_ROW.owner == owner, _ROW.id == eval_id))
        return None if row is None else _to_eval(row)

    async def update(self, owner: str, eval_id: str, name: str | None, metadata: Any) -> StoredEval | None:
        """name, metadata: None leaves it. None: there is no such eval. Raises as add()."""
        found = await self.get(owner, eval_id)
        if found is None:
            return None
        content = found.content if metadata is None else {**found.content, "metadata": metadata}
        text = self._to_text(content)
        values = {"name": name or found.name, "content": text, "num_bytes": num_bytes(text)}
        change = update(_ROW).where(_ROW.owner == owner, _ROW.id == eval_id)
        async with self._database.write() as connection:
            await self._quota.check(connection, owner, num_bytes(text))
            await connection.execute(change.values(**values, changed=now_milliseconds()))
        return await self.get(owner, eval_id)

    async def page(
        self, owner: str, *, after: str | None, limit: int, order: str, order_by: OrderBy = "created_at"
    ) -> EvalPage:
        """after: the id of the last one of the page before. order: "asc" or "desc". Raises InvalidRequest for an
        unknown `after`."""
        column = _ROW.created if order_by == "created_at" else _ROW.changed
        query: Select[Any] = select(_COLUMNS).where(_ROW.owner == owner)
        if after is not None:
            last = await self.get(owner, after)
            if last is None:
                raise InvalidRequest(f"There is no eval {after[:100]!r} here.", param="after", code="eval_not_found")
            value = last.created if order_by == "created_at" else last.changed
            query = query.where(behind(column, _ROW.id, value, last.id, order))
        query = query.order_by(*in_order((column, _ROW.id), order)).limit(limit + 1)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return EvalPage([_to_eval(row) for row in rows[:limit]], has_more=len(rows) > limit)

    async def delete(self, owner: str, eval_id: str) -> bool:
        """With its runs and all that came of them. Whether it was there."""
        if not can_be_id(eval_id):
            return False
        async with self._database.write() as connection:
            done = await connection.execute(delete(_ROW).where(_ROW.owner == owner, _ROW.id == eval_id))
        self._database.note_deletion()
        return done.rowcount > 0

    async def remove(self, owner: Owner, before: int | None, limit: int) -> list[str]:
        """The oldest, at most `limit`, with their runs: ids of those that went. before: Unix milliseconds of the last
        change; None is all."""
        rows: Select[Any] = select(_ROW.id)
        ids = of_owner(rows, _ROW, owner).order_by(_ROW.changed).limit(limit)
        ids = ids if before is None else ids.where(_ROW.changed < before)
        async with self._database.write() as connection:
            gone = await connection.execute(delete(_ROW).where(_ROW.id.in_(ids)).returning(_ROW.id))
            found = list(gone.scalars())
        if found:
            self._database.note_deletion()
        return found

    async def count(self, owner: Owner, before: int | None) -> tuple[int, int]:
        """How many remove() would take in all, and their bytes, runs and items included."""
        rows: Select[Any] = select(_ROW.id)
        ids = of_owner(rows, _ROW, owner)
        ids = ids if before is None else ids.where(_ROW.changed < before)
        runs = select(EvalRunRow.id).where(EvalRunRow.eval_id.in_(ids))
        sizes = (
            select(func.coalesce(func.sum(_ROW.num_bytes), 0)).where(_ROW.id.in_(ids)),
            select(func.coalesce(func.sum(EvalRunRow.num_bytes), 0)).where(EvalRunRow.eval_id.in_(ids)),
            select(func.coalesce(func.sum(EvalItemRow.num_bytes), 0)).where(EvalItemRow.run_id.in_(runs)),
        )
        async with self._database.read() as connection:
            number = int((await connection.execute(select(func.count()).where(_ROW.id.in_(ids)))).scalar_one())
            total = sum([int((await connection.execute(size)).scalar_one()) for size in sizes])
        return number, total

    def _to_text(self, content: Mapping[str, Any]) -> str:
        text = to_text(content)
        check_size(
            "The eval", num_bytes(text), self._max_bytes, param="testing_criteria", remedy="Make its texts shorter."
        )
        return text


def behind(column: Any, id_column: Any, value: Any, row_id: Any, order: str) -> Any:
    """Rows after that one, in an order by column and id."""
    if order == "asc":
        return or_(column > value, and_(column == value, id_column > row_id))
    return or_(column < value, and_(column == value, id_column < row_id))


def in_order(columns: Any, order: str) -> list[Any]:
    return [column if order == "asc" else column.desc() for column in columns]


def _to_eval(row: Any) -> StoredEval:
    return StoredEval(
        owner=row.owner,
        id=row.id,
        name=row.name,
        content=from_text(row.content),
        created=row.created,
        changed=row.changed,
    )
