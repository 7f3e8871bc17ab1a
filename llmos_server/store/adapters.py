"""Which adapter a name leads to, and for whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.adapter_contracts import ADAPTERS, TEMPORARY, AdapterVersion
from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import ENDED
from llmos_server.store.adapter_tables import AdapterRow
from llmos_server.store.database import Database
from llmos_server.store.job_tables import JobRow
from llmos_server.store.owners import EVERYBODY, Owner, of_owner
from llmos_server.store.promotion_tables import PromotionRow

_STORED = [name for name in AdapterVersion.__struct_fields__ if name != "folder"]
_COLUMNS = [getattr(AdapterRow, name) for name in _STORED]


def _is_visible(owner: Any) -> ColumnElement[bool]:
    return or_(AdapterRow.owner == owner, AdapterRow.owner == "", AdapterRow.is_shared)


_IS_TEMPORARY = AdapterRow.name.startswith(AdapterRow.base.concat(f":{TEMPORARY}"))
_FOUND = (
    select(*_COLUMNS)
    .where(AdapterRow.name == bindparam("name"), _is_visible(bindparam("owner")))
    .order_by(case((AdapterRow.owner == bindparam("owner"), 0), else_=1), AdapterRow.created.desc())
    .limit(1)
)


async def register_adapter(connection: AsyncConnection, adapter: AdapterVersion) -> None:
    """Its name leads to it from the end of the caller's transaction on; what its owner had given that name to before is
    forgotten. A job does it in the transaction that ends the job."""
    values = {name: getattr(adapter, name) for name in _STORED}
    await connection.execute(_row(adapter.owner, adapter.name))
    await connection.execute(insert(AdapterRow).values(**values))


async def register_temporary(connection: AsyncConnection, adapter: AdapterVersion) -> None:
    """In place of what the same job has asked so far, in this run of it or an earlier one."""
    await connection.execute(delete(AdapterRow).where(AdapterRow.job_id == adapter.job_id, _IS_TEMPORARY))
    await register_adapter(connection, adapter)


async def forget_adapter(connection: AsyncConnection, owner: str, name: str) -> None:
    """From the end of the caller's transaction on, nothing answers to that name of the owner's."""
    await connection.execute(_row(owner, name))


class AdapterRepository:
    """Whose it is comes first, always; what is another owner's, and not shared, isn't there."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._folder = database.home.absolute() / ADAPTERS

    async def register(self, adapter: AdapterVersion) -> None:
        """register_adapter, in a transaction of its own."""
        async with self._database.write() as connection:
            await register_adapter(connection, adapter)

    async def find(self, owner: str, name: str) -> AdapterVersion | None:
        """What this name means to that owner: its own, else one that everybody may use. Asked at requests."""
        row = await self._database.first(_FOUND, {"owner": owner, "name": name})
        return None if row is None else self._to_version(row)

    async def share(self, owner: str, name: str, *, is_shared: bool) -> bool:
        """Whether there is such a one. Raises InvalidRequest while another of the same name is everybody's."""
        others = select(AdapterRow.owner).where(
            AdapterRow.name == name, AdapterRow.owner != owner, or_(AdapterRow.is_shared, AdapterRow.owner == "")
        )
        change = update(AdapterRow).where(AdapterRow.owner == owner, AdapterRow.name == name)
        async with self._database.write() as connection:
            if is_shared and (await connection.execute(others)).first() is not None:
                raise InvalidRequest(
                    f"Another adapter named {name!r} is everybody's already. Unshare or delete it first.", param="name"
                )
            return (await connection.execute(change.values(is_shared=is_shared))).rowcount > 0

    async def delete(self, owner: str, name: str) -> AdapterVersion | None:
        """What it was; None where there was none. Its files are the caller's to remove where no digests() has them."""
        async with self._database.write() as connection:
            found = of_owner(select(*_COLUMNS), AdapterRow, owner).where(AdapterRow.name == name)
            row = (await connection.execute(found)).first()
            await connection.execute(_row(owner, name))
        self._database.note_deletion()
        return None if row is None else self._to_version(row)

    async def remove(self, owner: Owner, before: int | None, limit: int) -> list[tuple[str, int]]:
        """The oldest, at most `limit`: digests and bytes of those that went. before: Unix milliseconds; None is all.
        Their files are the caller's to remove where no digests() has them."""
        ids = _made_before(select(AdapterRow.owner, AdapterRow.name), owner, before)
        ids = ids.order_by(AdapterRow.created).limit(limit)
        gone = delete(AdapterRow).where(tuple_(AdapterRow.owner, AdapterRow.name).in_(ids))
        async with self._database.write() as connection:
            rows = (await connection.execute(gone.returning(AdapterRow.digest, AdapterRow.num_bytes))).all()
        if rows:
            self._database.note_deletion()
        return [(digest, int(size)) for digest, size in rows]

    async def count(self, owner: Owner, before: int | None) -> tuple[int, int]:
        """How many remove() would take in all, and their bytes."""
        sizes = func.coalesce(func.sum(AdapterRow.num_bytes), 0)
        async with self._database.read() as connection:
            found = await connection.execute(_made_before(select(func.count(), sizes), owner, before))
        number, size = found.one()
        return number, int(size)

    async def digests(self) -> set[str]:
        """All that some name leads to, or an alias, or one did that can be rolled back."""
        promoted = select(PromotionRow.digest).where(PromotionRow.adapter != "")
        async with self._database.read() as connection:
            return set((await connection.execute(select(AdapterRow.digest).union(promoted))).scalars())

    async def remove_temporary(self) -> None:
        """Those of jobs that have ended, or are no more: they were killed before they could."""
        living = select(JobRow.id).where(JobRow.status.not_in(ENDED))
        async with self._database.write() as connection:
            await connection.execute(delete(AdapterRow).where(_IS_TEMPORARY, AdapterRow.job_id.not_in(living)))

    async def of_name(self, name: str) -> list[AdapterVersion]:
        """Everybody's of that name, for administrators."""
        query = select(*_COLUMNS).where(AdapterRow.name == name).order_by(AdapterRow.owner)
        async with self._database.read() as connection:
            return [self._to_version(row) for row in (await connection.execute(query)).all()]

    async def list(self, owner: Owner) -> list[AdapterVersion]:
        """All that it may use, by name; EVERYBODY's is all there are."""
        query = select(*_COLUMNS).where(~_IS_TEMPORARY).order_by(AdapterRow.name, AdapterRow.owner)
        if owner is not EVERYBODY:
            query = query.where(_is_visible(owner))
        async with self._database.read() as connection:
            return [self._to_version(row) for row in (await connection.execute(query)).all()]

    def _to_version(self, row: Any) -> AdapterVersion:
        folder = Path(self._folder, str(row.digest).removeprefix("sha256:"))
        return AdapterVersion(**row._mapping, folder=str(folder))


def _made_before(query: Select[Any], owner: Owner, before: int | None) -> Select[Any]:
    query = of_owner(query, AdapterRow, owner)
    return query if before is None else query.where(AdapterRow.created < before // 1000)


def _row(owner: str, name: str) -> Any:
    return delete(AdapterRow).where(AdapterRow.owner == owner, AdapterRow.name == name)
