"""An empty database with its tables, quickly: migrations take a tenth of a second, a copy of what they made nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from llmos_server.store import migrate as migrating
from llmos_server.store.database import Database

_MADE: list[bytes] = []
"""The database that they made, once for this process."""


async def migrate(database: Database) -> None:
    """Stands for store.migrate.migrate, and calls it for all but SQLite's databases that nobody has opened yet."""
    if database.is_sqlite and database.path.stat().st_size == 0:
        database.path.write_bytes(await _make())
    else:
        await migrating.migrate(database)


async def _make() -> bytes:
    if not _MADE:
        with tempfile.TemporaryDirectory() as folder:
            database = Database(Path(folder))
            await migrating.migrate(database)
            await database.close()  # Which moves the write-ahead log into the file.
            _MADE.append(database.path.read_bytes())
    return _MADE[0]
