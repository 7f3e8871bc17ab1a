"""Uploaded files, as the database knows them."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Select, and_, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.errors import InvalidRequest
from llmos_server.store.database import Database
from llmos_server.store.file_tables import FileRow
from llmos_server.store.objects import can_be_id, now_milliseconds
from llmos_server.store.owners import EVERYBODY, Owner, of_owner
from llmos_server.store.quota import Quota

_COLUMNS = FileRow.__table__


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    owner: str
    id: str
    filename: str
    purpose: str
    num_bytes: int
    digest: str
    created: int
    expires: int | None = None
    """Unix milliseconds, both."""


class FilePage(msgspec.Struct, frozen=True):
    files: list[StoredFile]
    has_more: bool


async def register_file(connection: AsyncConnection, file: StoredFile) -> None:
    """What the server itself made for its owner, in the caller's transaction: no quota refuses it."""
    await connection.execute(insert(FileRow).values(**msgspec.structs.asdict(file)))


class FileRepository:
    """Whose it is comes first, always; what is another owner's, or has expired, isn't there."""

    def __init__(self, database: Database, quota: Quota) -> None:
        self._database = database
        self._quota = quota

    async def require_room(self, owner: str, num_bytes: int) -> None:
        """Before so many bytes are sent. Raises Forbidden when that is more than the key may store."""
        async with self._database.read() as connection:
            await self._quota.check(connection, owner, num_bytes)

    async def add(self, file: StoredFile) -> None:
        """Raises Forbidden when it is more than its key may store."""
        async with self._database.write() as connection:
            await self._quota.check(connection, file.owner, file.num_bytes)
            await register_file(connection, file)

    async def get(self, owner: str, file_id: str) -> StoredFile | None:
        if not can_be_id(file_id):
            return None
        query = select(_COLUMNS).where(FileRow.owner == owner, FileRow.id == file_id, _is_alive())
        row = await self._database.first(query)
        return None if row is None else _to_file(row)

    async def page(
        self, owner: str, *, purpose: str | None = None, after: str | None = None, limit: int, order: str = "desc"
    ) -> FilePage:
        """By age. after: the id of the last one of the page before. order: "asc" or "desc". Raises InvalidRequest for
        an unknown `after`."""
        query = select(_COLUMNS).where(FileRow.owner == owner, _is_alive())
        if purpose is not None:
            query = query.where(FileRow.purpose == purpose)
        if after is not None:
            last = await self.get(owner, after)
            if last is None:
                raise InvalidRequest(f"There is no file {after[:100]!r} here.", param="after", code="file_not_found")
            query = query.where(_is_behind(last, order))
        ages = (FileRow.created, FileRow.id)
        query = query.order_by(*(ages if order == "asc" else [age.desc() for age in ages])).limit(limit + 1)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return FilePage([_to_file(row) for row in rows[:limit]], has_more=len(rows) > limit)

    async def delete(self, owner: str, file_id: str) -> bool:
        """Whether it was there. Its content is the caller's to remove, after this."""
        if not can_be_id(file_id):
            return False
        gone = delete(FileRow).where(FileRow.owner == owner, FileRow.id == file_id)
        async with self._database.write() as connection:
            done = await connection.execute(gone)
        self._database.note_deletion()
        return done.rowcount > 0

    async def remove_expired(self, limit: int) -> list[str]:
        """Ids of at most `limit` rows that went, whoever's."""
        old = select(FileRow.id).where(FileRow.expires <= now_milliseconds()).limit(limit)
        return [file_id for file_id, _ in await self._remove(old)]

    async def remove_before(self, created: int, limit: int) -> list[str]:
        """Ids of at most `limit` that were made before that Unix millisecond and went, whoever's."""
        return [file_id for file_id, _ in await self.remove(EVERYBODY, created, limit)]

    async def remove(self, owner: Owner, before: int | None, limit: int) -> list[tuple[str, int]]:
        """The oldest, at most `limit`: ids and bytes of those that went. before: Unix milliseconds; None is all."""
        ids: Select[Any] = select(FileRow.id)
        old = of_owner(ids, FileRow, owner).order_by(FileRow.created).limit(limit)
        return await self._remove(old if before is None else old.where(FileRow.created < before))

    async def count(self, owner: Owner, before: int | None) -> tuple[int, int]:
        """How many remove() would take in all, and their bytes."""
        query: Select[Any] = select(func.count(), func.coalesce(func.sum(FileRow.num_bytes), 0))
        query = query if before is None else query.where(FileRow.created < before)
        async with self._database.read() as connection:
            number, size = (await connection.execute(of_owner(query, FileRow, owner))).one()
        return number, int(size)

    async def _remove(self, ids: Select[Any]) -> list[tuple[str, int]]:
        gone = delete(FileRow).where(FileRow.id.in_(ids)).returning(FileRow.id, FileRow.num_bytes)
        async with self._database.write() as connection:
            rows = (await connection.execute(gone)).all()
        if rows:
            self._database.note_deletion()
        return [(row.id, row.num_bytes) for row in rows]

    async def all_ids(self) -> set[str]:
        async with self._database.read() as connection:
            return set((await connection.execute(select(FileRow.id))).scalars())


def _is_alive() -> Any:
    return or_(FileRow.expires.is_(None), FileRow.expires > now_milliseconds())


def _is_behind(last: StoredFile, order: str) -> Any:
    same_age = FileRow.created == last.created
    if order == "asc":
        return or_(FileRow.created > last.created, and_(same_age, FileRow.id > last.id))
    return or_(FileRow.created < last.created, and_(same_age, FileRow.id < last.id))


def _to_file(row: Any) -> StoredFile:
    return StoredFile(**row._mapping)
