"""From nothing to this program's tables, whoever comes first."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from llmos_server.errors import StoreUnavailable
from llmos_server.store.database import Database
from llmos_server.store.migrate import SCRIPTS, migrate
from llmos_server.store.tables import METADATA, Owned

NEWEST = max(path.name[1:5] for path in (SCRIPTS / "versions").glob("m*.py"))
OF_NOBODY = {"disabled_skills", "keys", "pinned_models", "promotions", "skill_scores", "usage_removal"}
"""Keys are the owners; the others hold no user's rows."""


async def test_the_migrations_make_the_tables(empty: Database) -> None:
    await migrate(empty)

    def difference(connection) -> list:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, METADATA)

    async with empty.read() as connection:
        assert await connection.run_sync(difference) == []


def test_every_table_of_users_rows_has_an_owner() -> None:
    tables = {mapper.local_table.name: mapper.class_ for mapper in Owned.__subclasses__()[0].registry.mappers}
    assert {name for name, table in tables.items() if not issubclass(table, Owned)} == OF_NOBODY
    assert set(METADATA.tables) == set(tables)


async def test_many_may_come_first(tmp_path: Path, url: str) -> None:
    databases = [Database(tmp_path, url) for _ in range(4)]
    await asyncio.gather(*(asyncio.to_thread(lambda d=d: asyncio.run(_migrate_and_close(d))) for d in databases))
    check = Database(tmp_path, url)
    async with check.read() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar() == NEWEST
    await check.close()


async def _migrate_and_close(database: Database) -> None:
    await migrate(database)
    await database.close()


def test_two_processes_may_come_first(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from llmos_server.store.database import Database\n"
        "from llmos_server.store.migrate import migrate\n"
        "asyncio.run(migrate(Database(Path(sys.argv[1]))))\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()


async def test_a_second_time_changes_nothing(empty: Database) -> None:
    await migrate(empty)
    await migrate(empty)


async def test_a_newer_database_is_refused(empty: Database) -> None:
    await migrate(empty)
    async with empty.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreUnavailable, match=r"newer LLMOS .*9999"):
        await migrate(empty)


async def test_a_migration_that_fails_leaves_nothing(empty: Database) -> None:
    async with empty.write() as connection:
        await connection.execute(text("CREATE TABLE usage (id INTEGER)"))
    with pytest.raises(StoreUnavailable):
        await migrate(empty)
    async with empty.write() as connection:
        await connection.execute(text("DROP TABLE usage"))
    await migrate(empty)  # It would fail if the table of keys, which comes first, had stayed.
