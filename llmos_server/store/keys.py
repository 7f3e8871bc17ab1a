"""The table of keys."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import bindparam, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from llmos_server.errors import InvalidRequest
from llmos_server.key_contracts import StoredKey
from llmos_server.store.database import Database
from llmos_server.store.tables import Key

_TABLE = Key.__table__
_ALL = select(_TABLE)
_BY_ID = _ALL.where(Key.id == bindparam("key_id"))
_LISTS = ("models", "skills", "tools")
_ANY = select(Key.id).limit(1)


class KeyRepository:
    """Keys are never deleted, only revoked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key_id: str) -> StoredKey | None:
        """By primary key; revoked ones, too."""
        row = await self._database.first(_BY_ID, {"key_id": key_id})
        return None if row is None else _to_key(row)

    async def any_was_made(self) -> bool:
        return await self._database.first(_ANY) is not None

    async def any_is_valid(self) -> bool:
        return await self._database.first(_ANY.where(Key.revoked.is_(None))) is not None

    async def list(self) -> list[StoredKey]:
        """Oldest first."""
        async with self._database.read() as connection:
            rows = (await connection.execute(_ALL.order_by(Key.created, Key.id))).all()
        return [_to_key(row) for row in rows]

    async def find_living(self, id_or_name: str) -> StoredKey | None:
        """An id goes before a name."""
        living = _ALL.where(or_(Key.id == id_or_name, Key.name == id_or_name), Key.revoked.is_(None))
        async with self._database.read() as connection:
            keys = [_to_key(row) for row in (await connection.execute(living)).all()]
        return min(keys, key=lambda key: key.id != id_or_name, default=None)

    async def add(self, key: StoredKey) -> None:
        """Raises InvalidRequest when a living key has the name."""
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(Key).values(**_to_values(key)))
        except IntegrityError:
            raise _name_taken(key.name) from None

    async def change(self, key_id: str, change: Callable[[StoredKey], StoredKey]) -> StoredKey | None:
        """The key, changed; None when no living key has the id. Raises what `change` raises, and InvalidRequest when a
        living key has the new name."""
        try:
            async with self._database.write() as connection:
                found = _ALL.where(Key.id == key_id, Key.revoked.is_(None)).with_for_update()
                row = (await connection.execute(found)).first()
                if row is None:
                    return None
                changed = change(_to_key(row))
                await connection.execute(update(Key).where(Key.id == key_id).values(**_to_values(changed)))
        except IntegrityError:
            raise _name_taken(changed.name) from None
        return changed

    async def revoke(self, id_or_name: str, now: int) -> StoredKey | None:
        """The key, revoked now; None when no living key is called so. An id goes before a name."""
        async with self._database.write() as connection:
            found = _ALL.where(or_(Key.id == id_or_name, Key.name == id_or_name), Key.revoked.is_(None))
            keys = [_to_key(row) for row in (await connection.execute(found)).all()]
            keys.sort(key=lambda key: key.id != id_or_name)
            if not keys:
                return None
            await connection.execute(update(Key).where(Key.id == keys[0].id).values(revoked=now))
        return await self.get(keys[0].id)

    async def touch(self, last_used: Mapping[str, int]) -> None:
        """id -> Unix seconds."""
        async with self._database.write() as connection:
            for key_id, seconds in last_used.items():
                await connection.execute(update(Key).where(Key.id == key_id).values(last_used=seconds))


def _name_taken(name: str) -> InvalidRequest:
    return InvalidRequest(
        f"There is a key named {name!r} already. Choose another name, or revoke that one first.",
        param="name",
        code="name_taken",
    )


def _to_values(key: StoredKey) -> dict[str, Any]:
    values = {name: getattr(key, name) for name in key.__struct_fields__}
    return values | {name: None if (names := values[name]) is None else list(names) for name in _LISTS}


def _to_key(row: Any) -> StoredKey:
    fields = dict(row._mapping)
    fields |= {name: None if (names := fields[name]) is None else tuple(names) for name in _LISTS}
    return StoredKey(**fields)
