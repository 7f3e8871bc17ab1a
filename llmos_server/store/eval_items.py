"""What came of each item of a run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Select, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.job_contracts import Read, Write
from llmos_server.store.database import Database
from llmos_server.store.eval_tables import EvalItemRow
from llmos_server.store.objects import from_text, now_milliseconds, num_bytes, to_text

_ROW = EvalItemRow
ItemStatus = Literal["pass", "fail", "error"]
ROWS_AT_ONCE = 200


class StoredItem(msgspec.Struct, frozen=True, kw_only=True):
    run_id: str
    position: int
    """Among the run's data, from 0 on."""
    status: ItemStatus
    content: dict[str, Any]
    """datasource_item, sample, results."""
    created: int = 0
    """Unix milliseconds."""


class EvalItemRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, owner: str, run_id: str, position: int) -> StoredItem | None:
        query = _all(owner, run_id).where(_ROW.position == position)
        row = await self._database.first(query)
        return None if row is None else _to_item(row)

    async def page(
        self,
        owner: str,
        run_id: str,
        *,
        after: int | None = None,
        limit: int,
        order: str = "asc",
        status: ItemStatus | None = None,
    ) -> tuple[list[StoredItem], bool]:
        """By position; and whether there are more. after: the last one of the page before."""
        async with self._database.read() as connection:
            rows = await _page(connection, _all(owner, run_id), after, limit + 1, order, status)
        return [_to_item(row) for row in rows[:limit]], len(rows) > limit

    async def all(self, owner: str, run_id: str) -> AsyncIterator[StoredItem]:
        """By position, some at a time."""
        after: int | None = None
        while True:
            found, has_more = await self.page(owner, run_id, after=after, limit=ROWS_AT_ONCE)
            for item in found:
                yield item
            if not has_more:
                return
            after = found[-1].position


def adding_items(owner: str, items: Sequence[StoredItem]) -> Write:
    """One that is there already stays as it is."""
    values = [_to_values(owner, item) for item in items]

    async def write(connection: AsyncConnection) -> None:
        insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
        if values:
            await connection.execute(insert(_ROW).on_conflict_do_nothing(), values)

    return write


def reading_page(owner: str, run_id: str, after: int | None) -> Read[list[StoredItem]]:
    """ROWS_AT_ONCE by position, for a job; the last page is shorter."""

    async def read(connection: AsyncConnection) -> list[StoredItem]:
        rows = await _page(connection, _all(owner, run_id), after, ROWS_AT_ONCE, "asc", None)
        return [_to_item(row) for row in rows]

    return read


def _all(owner: str, run_id: str) -> Select[Any]:
    return select(_ROW.__table__).where(_ROW.owner == owner, _ROW.run_id == run_id)


async def _page(
    connection: AsyncConnection,
    query: Select[Any],
    after: int | None,
    limit: int,
    order: str,
    status: ItemStatus | None,
) -> Sequence[Any]:
    if status is not None:
        query = query.where(_ROW.status == status)
    if after is not None:
        query = query.where(_ROW.position > after if order == "asc" else _ROW.position < after)
    query = query.order_by(_ROW.position if order == "asc" else _ROW.position.desc())
    return (await connection.execute(query.limit(limit))).all()


def _to_values(owner: str, item: StoredItem) -> dict[str, Any]:
    text = to_text(item.content)
    return {
        "owner": owner,
        "run_id": item.run_id,
        "position": item.position,
        "status": item.status,
        "content": text,
        "num_bytes": num_bytes(text),
        "created": now_milliseconds(),
    }


def _to_item(row: Any) -> StoredItem:
    return StoredItem(
        run_id=row.run_id,
        position=row.position,
        status=row.status,
        content=from_text(row.content),
        created=row.created,
    )
