"""Connections: SQLite under LLMOS_HOME, or PostgreSQL by URL; reads, and writes that can't meet a stale snapshot."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from advanced_alchemy.config import EngineConfig, SQLAlchemyAsyncConfig
from sqlalchemy import URL, NullPool, Row, Select, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from llmos_server.errors import SettingsError, StoreUnavailable
from llmos_server.store.reader import Reader

DATABASE = "llmos.db"
BUSY_MILLISECONDS = 5000
"""How long a SQLite statement waits for another process's write."""
CONNECT_SECONDS = 10
_WRITES = "llmos_writes"


class Database:
    """Lazy: the first use connects. Belongs to the event loop that uses it."""

    def __init__(self, home: Path, url: str = "") -> None:
        """url: "" is SQLite at home/llmos.db. Raises SettingsError for a URL that can't be used."""
        self.home = home
        self.url = read_url(home, url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = self._create_engine()
        self._writer = self.engine.execution_options(**{_WRITES: True})
        self._reader = self._create_reader() if self.is_sqlite else None
        self._turn = asyncio.Lock()
        self._has_deleted = False

    @property
    def label(self) -> str:
        """For messages: without the password."""
        return str(self.path) if self.is_sqlite else self.url.render_as_string(hide_password=True)

    @property
    def path(self) -> Path:
        """Of a SQLite database."""
        return Path(self.url.database or "")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """For single statements: each sees what was committed before it. Raises StoreUnavailable."""
        with _errors_in_words(self):
            async with self.engine.connect() as connection:
                yield connection

    async def first(self, query: Select[Any], values: Mapping[str, Any] | None = None) -> Row[Any] | None:
        """read() for what every request asks. values: of the query's bind parameters. Raises StoreUnavailable."""
        with _errors_in_words(self):
            if self._reader is not None:
                return await self._reader.first(query, values or {})
            async with self.engine.connect() as connection:
                return (await connection.execute(query, values or {})).first()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed at the end; on SQLite it has the write lock from its begin, so it can't fail later
        because somebody else wrote, and this process's own writers wait for each other however slow the disk is: its
        time limit is for other processes. Never write within a write. Raises StoreUnavailable."""
        with _errors_in_words(self):
            async with self._turn if self.is_sqlite else nullcontext(), self._writer.begin() as connection:
                yield connection

    def note_deletion(self) -> None:
        """Something was deleted that should be gone from the disk soon, too."""
        self._has_deleted = True

    async def forget(self) -> None:
        """What was deleted leaves SQLite's write-ahead log, if nobody reads just now; in the tables it was overwritten
        when it was deleted. PostgreSQL's own vacuum does that there. Raises StoreUnavailable."""
        if not (self._has_deleted and self.is_sqlite):
            return
        async with self.read() as connection:
            is_busy = (await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")).scalar()
        self._has_deleted = bool(is_busy)

    def errors_in_words(self) -> AbstractContextManager[None]:
        """For whoever uses `engine` itself: what goes wrong inside is raised as StoreUnavailable."""
        return _errors_in_words(self)

    async def close(self) -> None:
        if self._reader is not None:
            await self._reader.close()
        await self.engine.dispose()

    def _create_engine(self) -> AsyncEngine:
        if self.is_sqlite:
            make_private(self.path)
            arguments: dict[str, Any] = {"timeout": BUSY_MILLISECONDS / 1000}
        else:
            arguments = {"timeout": CONNECT_SECONDS}
        config = SQLAlchemyAsyncConfig(
            connection_string=self.url.render_as_string(hide_password=False),
            engine_config=EngineConfig(connect_args=arguments, pool_pre_ping=not self.is_sqlite, pool_size=5),
        )
        engine = config.get_engine()
        if self.is_sqlite:
            event.listen(engine.sync_engine, "connect", _set_up_sqlite)
            event.listen(engine.sync_engine, "begin", _begin_sqlite)
        return engine

    def _create_reader(self) -> Reader:
        arguments = {"timeout": BUSY_MILLISECONDS / 1000}
        engine = create_engine(self.url.set(drivername="sqlite"), poolclass=NullPool, connect_args=arguments)
        event.listen(engine, "connect", _set_up_sqlite)
        return Reader(engine)


def label_of(home: Path, url: str) -> str:
    """Which database a setting means, without its password. Connects to nothing."""
    parsed = read_url(home, url)
    return str(parsed.database) if not url else parsed.render_as_string(hide_password=True)


def read_url(home: Path, url: str) -> URL:
    """Never shows the URL: it may hold a password."""
    if not url:
        return URL.create("sqlite+aiosqlite", database=str(home / DATABASE))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError("database.url is not a URL. It looks like postgresql://user:password@host/name.") from None
    if parsed.drivername not in ("postgresql", "postgres", "postgresql+asyncpg"):
        raise SettingsError(
            f"database.url begins with {parsed.drivername}; it can be a postgresql:// URL, "
            f"or empty for SQLite in LLMOS_HOME/{DATABASE}."
        )
    if importlib.util.find_spec("asyncpg") is None:
        raise SettingsError("PostgreSQL needs a driver that isn't installed: pip install 'llmos[postgres]'")
    return parsed.set(drivername="postgresql+asyncpg")


def make_private(path: Path) -> None:
    """The database exists and its owner alone can read it; SQLite gives its other files the same mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError as error:
        raise StoreUnavailable(f"The database {path} can't be opened ({error.strerror}).") from None


def _set_up_sqlite(connection: Any, _: Any) -> None:
    """synchronous=FULL: what was committed survives a power cut, and so does a revocation. The ledger commits once a
    second, so that costs one fsync a second. secure_delete: what was deleted is overwritten, not only forgotten.
    isolation_level None: this file begins transactions, not the driver."""
    connection.isolation_level = None
    cursor = connection.cursor()
    pragmas = (f"busy_timeout = {BUSY_MILLISECONDS}", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON")
    for pragma in pragmas:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    """A reader's single statement needs no transaction."""
    if connection.get_execution_options().get(_WRITES):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


class _errors_in_words(AbstractContextManager[None]):
    """Turns the libraries' errors into ours. What is the values' own fault is left to whoever wrote them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        is_theirs = isinstance(error, DBAPIError | PoolTimeout | OSError) or _is_asyncpgs(error)
        if is_theirs and not isinstance(error, IntegrityError | DataError):
            cause = error.orig if isinstance(error, DBAPIError) else error
            remedy = " Free space on its disk; what waits is written then." if _is_full(cause) else ""
            raise StoreUnavailable(
                f"The database {self._database.label} can't be used now: {type(cause).__name__}: {cause}.{remedy}"
            ) from error


def _is_full(cause: BaseException | None) -> bool:
    """SQLite says so in words, PostgreSQL by a code of SQLSTATE."""
    return "disk is full" in str(cause) or getattr(cause, "sqlstate", None) == "53100"


def _is_asyncpgs(error: BaseException | None) -> bool:
    """SQLAlchemy translates what its driver raises, but for what a PostgreSQL answers to a new connection: it is
    starting or stopping, has no connection left, or doesn't know the password."""
    return isinstance(error, Exception) and type(error).__module__.partition(".")[0] == "asyncpg"
