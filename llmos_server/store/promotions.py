"""Which version answers to the names that applications ask for, one change after the other."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, and_, bindparam, delete, func, insert, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.adapter_contracts import ADAPTERS, AdapterVersion, Promotion, PromotionAction
from llmos_server.errors import InvalidRequest
from llmos_server.store.database import Database
from llmos_server.store.owners import EVERYBODY, Owner
from llmos_server.store.promotion_tables import PromotionRow

KEPT = 20
"""Changes of an alias that are kept, with the files of what they led to."""

_COLUMNS = list(PromotionRow.__table__.columns)
_HISTORY = select(*_COLUMNS).where(PromotionRow.alias == bindparam("alias")).order_by(PromotionRow.number.desc())
_FOUND = _HISTORY.limit(1)
_LAST = select(PromotionRow.alias, func.max(PromotionRow.number)).group_by(PromotionRow.alias)


class PromotionRepository:
    """Each change is one transaction: a request gets what held when it came."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._folder = database.home.absolute() / ADAPTERS

    async def find(self, alias: str) -> Promotion | None:
        """What holds. Asked at requests."""
        row = await self._database.first(_FOUND, {"alias": alias})
        return None if row is None else self._to_promotion(row)

    async def history(self, alias: str) -> list[Promotion]:
        """The newest first."""
        async with self._database.read() as connection:
            rows = (await connection.execute(_HISTORY, {"alias": alias})).all()
        return [self._to_promotion(row) for row in rows]

    async def previous(self, alias: str) -> Promotion:
        """What a rollback makes hold. Raises InvalidRequest where there is nothing."""
        async with self._database.read() as connection:
            return self._to_promotion(await _previous(connection, alias))

    async def promote(
        self, alias: str, model: str, digest: str, adapter: AdapterVersion | None, made_by: str
    ) -> Promotion:
        """From now on it answers to the alias; what did, does after a rollback."""
        told = "" if adapter is None else msgspec.json.encode(msgspec.structs.replace(adapter, folder="")).decode()
        maker = "" if adapter is None else adapter.owner
        values = {"model": model, "adapter": told, "digest": digest, "maker": maker}
        async with self._database.write() as connection:
            last = (await connection.execute(_FOUND, {"alias": alias})).first()
            before = None if last is None else last.number
            return await self._add(connection, alias, "promote", last, {**values, "previous": before}, made_by)

    async def roll_back(self, alias: str, made_by: str, expected: int) -> Promotion:
        """expected: the number of what is to hold again. Raises InvalidRequest where another would, by now."""
        async with self._database.write() as connection:
            row = await _previous(connection, alias)
            if row.number != expected:
                raise InvalidRequest(f"{alias!r} was changed meanwhile. Look at it and try again.", param="alias")
            last = (await connection.execute(_FOUND, {"alias": alias})).first()
            values = {name: getattr(row, name) for name in ("model", "adapter", "digest", "maker", "previous")}
            return await self._add(connection, alias, "rollback", last, values, made_by)

    async def remove(self, alias: str) -> bool:
        """With its history. Whether there was one."""
        async with self._database.write() as connection:
            gone = await connection.execute(delete(PromotionRow).where(PromotionRow.alias == alias))
            return gone.rowcount > 0

    async def count_of(self, maker: Owner) -> int:
        """How many remove_of() takes."""
        query = select(func.count()).where(_is_of(maker))
        async with self._database.read() as connection:
            return int((await connection.execute(query)).scalar_one())

    async def remove_of(self, maker: Owner) -> int:
        """What led to that key's adapters; an alias that leads to one now goes with its history."""
        async with self._database.write() as connection:
            holds = tuple_(PromotionRow.alias, PromotionRow.number).in_(_LAST)
            held = (await connection.execute(select(PromotionRow.alias).where(holds, _is_of(maker)))).scalars().all()
            number = (await connection.execute(delete(PromotionRow).where(_is_of(maker)))).rowcount
            await connection.execute(delete(PromotionRow).where(PromotionRow.alias.in_(held)))
        return number

    async def list(self) -> list[Promotion]:
        """What holds of each alias, by name."""
        query = select(*_COLUMNS).where(tuple_(PromotionRow.alias, PromotionRow.number).in_(_LAST))
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(PromotionRow.alias))).all()
        return [self._to_promotion(row) for row in rows]

    async def _add(
        self,
        connection: AsyncConnection,
        alias: str,
        action: PromotionAction,
        last: Any,
        values: dict[str, Any],
        made_by: str,
    ) -> Promotion:
        number = 1 if last is None else last.number + 1
        row = {**values, "alias": alias, "number": number, "action": action, "made_by": made_by}
        await connection.execute(insert(PromotionRow).values(**row, created=int(time.time())))
        old = delete(PromotionRow).where(PromotionRow.alias == alias, PromotionRow.number <= number - KEPT)
        await connection.execute(old)
        return self._to_promotion((await connection.execute(_FOUND, {"alias": alias})).one())

    def _to_promotion(self, row: Any) -> Promotion:
        values = dict(row._mapping)
        told = values.pop("adapter")
        adapter = None
        if told:
            adapter = msgspec.json.decode(told, type=AdapterVersion)
            folder = Path(self._folder, adapter.digest.removeprefix("sha256:"))
            adapter = msgspec.structs.replace(adapter, folder=str(folder))
        return Promotion(**values, adapter=adapter)


def _is_of(maker: Owner) -> ColumnElement[bool]:
    of_an_adapter = PromotionRow.adapter != ""
    return of_an_adapter if maker is EVERYBODY else and_(of_an_adapter, PromotionRow.maker == maker)


async def _previous(connection: AsyncConnection, alias: str) -> Any:
    last = (await connection.execute(_FOUND, {"alias": alias})).first()
    query = select(*_COLUMNS).where(PromotionRow.alias == alias)
    before = None
    if last is not None and last.previous is not None:
        before = (await connection.execute(query.where(PromotionRow.number == last.previous))).first()
    if before is None:
        raise InvalidRequest(
            f"Nothing answered to {alias!r} before what does now. `llmos demote {alias}` takes the name away.",
            param="alias",
            code="nothing_before",
        )
    return before
