"""Bring a database to this program's tables: once, whoever comes first; never down."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, text

from llmos_server.errors import StoreUnavailable
from llmos_server.store.database import Database
from llmos_server.store.locks import file_lock
from llmos_server.store.tables import METADATA

SCRIPTS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x6C6C6D6F73
"""Of PostgreSQL; "llmos" in ASCII."""


async def migrate(database: Database) -> None:
    """Up to date in one transaction, or as before. Processes that do this at once take turns.

    Raises StoreUnavailable for a database that a newer LLMOS has written.
    """
    lock = file_lock(database.home / "locks" / "database.lock") if database.is_sqlite else nullcontext()
    with lock:
        if database.is_sqlite:
            async with database.read() as connection:
                await connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        async with database.read() as connection:
            if await connection.run_sync(is_current, database.label):
                return
        async with database.write() as connection:
            if not database.is_sqlite:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
            await connection.run_sync(_upgrade)


def is_current(connection: Connection, label: str) -> bool:
    """Raises StoreUnavailable when its revision isn't known here."""
    scripts = _scripts()
    heads = MigrationContext.configure(connection).get_current_heads()
    for revision in heads:
        try:
            scripts.get_revision(revision)
        except CommandError:
            raise StoreUnavailable(
                f"The database {label} was written by a newer LLMOS (its revision is {revision}). Install that "
                "version, or restore a backup from before."
            ) from None
    return set(heads) == set(scripts.get_heads())


def _upgrade(connection: Connection) -> None:
    """What `alembic upgrade head` does, on a connection and in a transaction of ours."""
    scripts = _scripts()

    def to_head(revision: Any, _: MigrationContext) -> Any:
        return scripts._upgrade_revs("head", revision)

    with EnvironmentContext(Config(), scripts, fn=to_head) as environment:
        environment.configure(connection=connection, target_metadata=METADATA)
        with environment.begin_transaction():
            environment.run_migrations()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(SCRIPTS))
