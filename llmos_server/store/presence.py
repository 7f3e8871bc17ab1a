"""Which servers of one database are running, told by locks that the system frees when their holder dies."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.errors import StoreUnavailable
from llmos_server.store.database import Database
from llmos_server.store.locks import file_lock

_LOCK_CLASS = 0x6C6C6D72
"""Of PostgreSQL's advisory locks; "llmr" in ASCII."""
_HELD = text(
    "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND classid = :kind AND objsubid = 2 "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Presence(Protocol):
    """One process's. Nobody is found gone who has started and not stopped."""

    id: str
    """32 hexadecimal digits; another at every start of the program."""

    async def start(self) -> None: ...

    async def gone(self, ids: Collection[str]) -> set[str]:
        """Those that run no more. Raises StoreUnavailable."""
        ...

    async def stop(self) -> None: ...


def create_presence(database: Database) -> Presence:
    return FilePresence(database.home) if database.is_sqlite else PostgresPresence(database)


class FilePresence:
    """A locked file for each server of the home. Files come and are cleared away under a lock of their own, so that
    none is cleared between its creation and its lock."""

    def __init__(self, home: Path) -> None:
        self.id = uuid.uuid4().hex
        self._folder = home / "locks" / "servers"
        self._turns = home / "locks" / "servers.lock"
        self._lock = ExitStack()

    async def start(self) -> None:
        with file_lock(self._turns):
            for path in self._folder.glob("*.lock"):
                if self._is_free(path):
                    path.unlink(missing_ok=True)
            self._lock.enter_context(file_lock(self._path(self.id)))

    async def gone(self, ids: Collection[str]) -> set[str]:
        with file_lock(self._turns):
            return {one for one in ids if self._is_free(self._path(one))}

    async def stop(self) -> None:
        self._path(self.id).unlink(missing_ok=True)
        self._lock.close()

    def _path(self, server: str) -> Path:
        return self._folder / f"{server}.lock"

    def _is_free(self, path: Path) -> bool:
        if not path.exists():
            return True
        try:
            with file_lock(path, wait=False):
                return True
        except BlockingIOError:
            return False


class PostgresPresence:
    """An advisory lock of a connection that stays open: it ends with the process, on whatever machine. After the
    database was away the next question takes the lock again."""

    def __init__(self, database: Database) -> None:
        self.id = uuid.uuid4().hex
        self._database = database
        self._connection: AsyncConnection | None = None

    async def start(self) -> None:
        with self._database.errors_in_words():
            connection = await self._database.engine.connect()
            try:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                lock = {"kind": _LOCK_CLASS, "number": _number(self.id)}
                await connection.execute(text("SELECT pg_advisory_lock_shared(:kind, :number)"), lock)
            except BaseException:
                await connection.close()
                raise
        self._connection = connection

    async def gone(self, ids: Collection[str]) -> set[str]:
        try:
            held = await self._held()
        except StoreUnavailable:
            await self.stop()
            await self.start()
            held = await self._held()
        return {one for one in ids if _number(one) % 2**32 not in held}

    async def stop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()  # Back in the pool it would keep the lock.
            await connection.close()

    async def _held(self) -> set[int]:
        """Asked on the connection that holds our own: when that is broken, the lock is lost, too."""
        if self._connection is None:
            async with self._database.read() as connection:
                return set((await connection.execute(_HELD, {"kind": _LOCK_CLASS})).scalars())
        with self._database.errors_in_words():
            return set((await self._connection.execute(_HELD, {"kind": _LOCK_CLASS})).scalars())


def _number(server: str) -> int:
    """32 bits with a sign, as PostgreSQL wants them."""
    return int.from_bytes(bytes.fromhex(server[:8]), signed=True)
