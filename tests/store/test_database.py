"""Connections: settings of SQLite, URLs, and what is never shown."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from migrated import migrate
from rows import key
from sqlalchemy import text

from llmos_server.errors import SettingsError, StoreUnavailable
from llmos_server.store import database as module
from llmos_server.store.database import Database, read_url
from llmos_server.store.store import Store


async def test_sqlite_is_set_up_for_several_processes(tmp_path: Path) -> None:
    database = Database(tmp_path / "home")
    await migrate(database)
    async with database.read() as connection:
        found = {
            name: (await connection.exec_driver_sql(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    async with database.write() as connection:
        await connection.execute(INSERT)
        for path in (tmp_path / "home").glob("llmos.db*"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    await database.close()


async def test_an_existing_file_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "llmos.db").touch(mode=0o644)
    (tmp_path / "llmos.db").chmod(0o644)
    await Database(tmp_path).close()
    assert stat.S_IMODE((tmp_path / "llmos.db").stat().st_mode) == 0o600


async def test_a_write_has_the_lock_from_its_begin(tmp_path: Path) -> None:
    database = Database(tmp_path)
    await migrate(database)
    other = sqlite3.connect(tmp_path / "llmos.db", timeout=0, isolation_level=None)
    async with database.write():
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()
    await database.close()


async def test_writers_of_one_process_wait_for_each_other_however_slow_the_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_MILLISECONDS", 1)
    store = Store(Database(tmp_path))
    await migrate(store.database)
    async with store.database.write():
        second = asyncio.create_task(store.keys.add(key("second", "second")))
        await asyncio.wait({second}, timeout=0.3)
        assert not second.done()
    await second
    assert [one.id for one in await store.keys.list()] == ["second"]
    await store.close()


async def test_readers_go_on_while_another_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_MILLISECONDS", 50)
    store = Store(Database(tmp_path))
    await migrate(store.database)
    other = sqlite3.connect(tmp_path / "llmos.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert await store.keys.list() == []
    with pytest.raises(StoreUnavailable, match="locked"):
        async with store.database.write():
            pass
    other.close()
    await store.close()


async def test_a_revocation_counts_at_the_next_look_up_whoever_commits_it(tmp_path: Path) -> None:
    store = Store(Database(tmp_path))
    await migrate(store.database)
    for key_id in ("ours", "theirs"):
        await store.keys.add(key(key_id, key_id))
        assert (await store.keys.get(key_id)).revoked is None
    await store.keys.revoke("ours", 5)
    assert (await store.keys.get("ours")).revoked == 5
    revoke = (
        "import sqlite3, sys; database = sqlite3.connect(sys.argv[1]); "
        "database.execute(\"UPDATE keys SET revoked = 6 WHERE id = 'theirs'\"); database.commit(); database.close()"
    )
    subprocess.run([sys.executable, "-c", revoke, str(tmp_path / "llmos.db")], check=True, timeout=60)
    assert (await store.keys.get("theirs")).revoked == 6
    await store.close()


async def test_a_look_up_of_a_locked_database_is_told_and_the_next_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_MILLISECONDS", 50)
    store = Store(Database(tmp_path))
    await migrate(store.database)
    await store.close()
    other = sqlite3.connect(tmp_path / "llmos.db", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.keys.get("a")
    other.close()
    assert await store.keys.get("a") is None
    await store.close()


INSERT = text("INSERT INTO keys (id, name, secret_hash, is_admin, created) VALUES ('a', 'b', 'c', false, 4)")


async def insert_and_fail(store: Store) -> None:
    async with store.database.write() as connection:
        await connection.execute(INSERT)
        raise ZeroDivisionError


async def test_a_failed_write_leaves_nothing(store: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        await insert_and_fail(store)
    assert await store.keys.list() == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://root:hunter2@h/x", "begins with mysql"),
        ("sqlite:///x:hunter2", "begins with sqlite"),
        ("hunter2", "not a URL"),
        ("postgresql://u:hunter2@h:port/x", "not a URL"),
    ],
)
def test_other_urls_are_refused_without_showing_them(tmp_path: Path, url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        read_url(tmp_path, url)
    assert "hunter2" not in str(refused.value)


def test_a_missing_driver_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'llmos\[postgres\]'"):
        read_url(tmp_path, "postgresql://u@h/x")


async def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    pytest.importorskip("asyncpg")
    database = Database(tmp_path, "postgres://me:hunter2@127.0.0.1:9/x")
    with pytest.raises(StoreUnavailable, match=r"[Rr]efused") as refused:
        await migrate(database)
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in database.label
    await database.close()


async def test_a_server_that_refuses_connections_is_one_that_cannot_be_used_now(tmp_path: Path) -> None:
    """A PostgreSQL that starts, stops or is full answers so: the ledger's rows have to wait, requests get a 503."""
    pytest.importorskip("asyncpg")

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        length = int.from_bytes(await reader.readexactly(4), "big")
        if length == 8:  # It asks for TLS first.
            await reader.readexactly(4)
            writer.write(b"N")
            length = int.from_bytes(await reader.readexactly(4), "big")
        await reader.readexactly(length - 4)
        fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"
        writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        database = Database(tmp_path, f"postgres://me:hunter2@127.0.0.1:{port}/x")
        for use in (database.read, database.write):
            with pytest.raises(StoreUnavailable, match="starting up") as refused:
                async with use():
                    pass
            assert "hunter2" not in str(refused.value)
        await database.close()


async def test_a_folder_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "llmos.db").mkdir()
    with pytest.raises(StoreUnavailable, match="can't be opened"):
        Database(tmp_path)
