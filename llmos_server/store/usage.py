"""The usage ledger's table."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects import postgresql, sqlite

from llmos_server.key_contracts import UsageRow, UsageTotal
from llmos_server.store.database import Database
from llmos_server.store.owners import Owner, of_owner
from llmos_server.store.tables import Usage

DAY_MILLISECONDS = 86_400_000

Grouping = Literal["key", "model", "day"]

_GROUPS: dict[str, ColumnElement[Any]] = {
    "key": Usage.__table__.c.owner,
    "model": Usage.__table__.c.model,
    "day": Usage.__table__.c.created // DAY_MILLISECONDS,
}
_SUMMED = (Usage.prompt_tokens, Usage.cached_tokens, Usage.completion_tokens, Usage.seconds)


class UsageRepository:
    """Every read takes the owner first."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, rows: Sequence[UsageRow]) -> None:
        """All of them or none. Rows that are there already, from an attempt whose answer was lost, stay as they are."""
        insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
        values = [msgspec.structs.asdict(row) for row in rows]
        async with self._database.write() as connection:
            await connection.execute(insert(Usage).on_conflict_do_nothing(), values)

    async def find(self, owner: Owner, request_id: str) -> UsageRow | None:
        """The last one with this request id."""
        query = select(Usage.__table__).where(Usage.request_id == request_id).order_by(Usage.created.desc()).limit(1)
        async with self._database.read() as connection:
            row = (await connection.execute(of_owner(query, Usage, owner))).first()
        return None if row is None else UsageRow(**row._mapping)

    async def totals(self, owner: Owner, *, since: int = 0, by: Grouping | None = None) -> list[UsageTotal]:
        """since: Unix milliseconds. One total a group, in the groups' order; without `by` a single one."""
        group = None if by is None else _GROUPS[by]
        sums: list[ColumnElement[Any]] = [func.count()]
        sums += [func.coalesce(func.sum(column), 0) for column in _SUMMED]
        query = select(*sums) if group is None else select(*sums, group).group_by(group).order_by(group)
        async with self._database.read() as connection:
            rows = (await connection.execute(of_owner(query.where(Usage.created >= since), Usage, owner))).all()
        return [_to_total(row, by) for row in rows]


def _to_total(row: Any, by: Grouping | None) -> UsageTotal:
    requests, prompt, cached, completion, seconds = row[:5]
    name = "" if by is None else str(row[5])
    if by == "day":
        name = _date(int(row[5]))
    return UsageTotal(
        group=name,
        requests=requests,
        prompt_tokens=int(prompt),
        cached_tokens=int(cached),
        completion_tokens=int(completion),
        seconds=float(seconds),
    )


def _date(days: int) -> str:
    """Of a day's number since 1970, in UTC."""
    return (date(1970, 1, 1) + timedelta(days=days)).isoformat()
