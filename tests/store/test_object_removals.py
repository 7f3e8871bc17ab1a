"""Old responses and conversations go, and those of one key; on both databases."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from migrated import migrate
from sqlalchemy import update

from llmos_server.settings import DatabaseSettings, Settings, StorageSettings
from llmos_server.store.database import Database
from llmos_server.store.object_removals import Removed
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.state_tables import ConversationRow, ResponseRow
from llmos_server.store.store import Store
from llmos_server.store.tidying import OBJECT_BATCH, OBJECT_SECONDS, SECONDS_BETWEEN_ROUNDS, Tidying

DAY = 86_400_000
NOW = time.time()


def days_ago(days: float) -> int:
    return int(NOW * 1000 - days * DAY)


async def save(store: Store, owner: str, name: str, days: float, previous: str | None = None, **fields: Any) -> None:
    response = {"id": name, "status": "completed", "output": [], "previous_response_id": previous, **fields}
    await store.responses.save(owner, response, [])
    change = update(ResponseRow).where(ResponseRow.id == name, ResponseRow.owner == owner)
    async with store.database.write() as connection:
        await connection.execute(change.values(created=days_ago(days)))


async def converse(store: Store, owner: str, days: float) -> str:
    made = await store.conversations.create(owner, {}, [{"id": "i", "text": "x"}])
    async with store.database.write() as connection:
        change = update(ConversationRow).where(ConversationRow.id == made.id)
        await connection.execute(change.values(changed=days_ago(days)))
    return made.id


async def left(store: Store, owner: str, *names: str) -> list[str]:
    return [name for name in names if await store.responses.get(owner, name) is not None]


async def remove_all(store: Store, kind: Any, owner: Any, before: int | None, limit: int = 100) -> Removed:
    """With what count() said before."""
    expected = await store.object_removals.count(kind, owner, before)
    total = size = 0
    while (done := await store.object_removals.remove(kind, owner, before, limit)).num_objects:
        total, size = total + done.num_objects, size + done.num_bytes
    assert expected == Removed(kind=kind, num_objects=total, num_bytes=size)
    return expected


async def test_old_ones_go(store: Store) -> None:
    await save(store, "a", "old", 31)
    await save(store, "b", "older", 32)
    await save(store, "a", "young", 29)
    assert (await remove_all(store, "responses", EVERYBODY, days_ago(30))).num_objects == 2
    assert await left(store, "a", "old", "young") == ["young"]


async def test_a_chain_stays_as_long_as_its_end(store: Store) -> None:
    await save(store, "a", "r1", 50)
    await save(store, "a", "r2", 40, "r1")
    await save(store, "a", "r3", 10, "r2")
    await save(store, "a", "side", 45, "r1")
    await save(store, "b", "r2", 40)
    assert (await remove_all(store, "responses", EVERYBODY, days_ago(30), limit=1)).num_objects == 2
    assert await left(store, "a", "r1", "r2", "r3", "side") == ["r1", "r2", "r3"]
    assert (await remove_all(store, "responses", EVERYBODY, days_ago(5), limit=1)).num_objects == 3


async def test_what_is_being_made_does_not_grow_old(store: Store) -> None:
    await save(store, "a", "r1", 50)
    await save(store, "a", "r2", 50, "r1", status="in_progress")
    assert (await remove_all(store, "responses", EVERYBODY, days_ago(30))).num_objects == 0


async def test_all_of_one_key(store: Store) -> None:
    await save(store, "a", "r1", 1)
    await save(store, "a", "r2", 0, "r1", status="in_progress")
    await save(store, "b", "r1", 1)
    mine, theirs = await converse(store, "a", 0), await converse(store, "b", 0)
    assert (await remove_all(store, "responses", "a", None)).num_objects == 2
    assert (await remove_all(store, "conversations", "a", None)).num_objects == 1
    assert await left(store, "a", "r1", "r2") == []
    assert await left(store, "b", "r1") == ["r1"]
    assert await store.conversations.get("a", mine) is None
    assert await store.conversations.get_item("a", mine, "i") is None
    assert await store.conversations.get_item("b", theirs, "i") is not None


async def test_a_conversation_that_is_used_stays(store: Store) -> None:
    unused, used = await converse(store, "a", 40), await converse(store, "a", 40)
    await store.conversations.add_items("a", used, [{"id": "new"}])
    assert (await remove_all(store, "conversations", EVERYBODY, days_ago(30))).num_objects == 1
    assert await store.conversations.get("a", unused) is None


class TestTidying:
    async def test_by_the_settings(self, store: Store) -> None:
        storage = StorageSettings(response_days=30, conversation_days=10)
        tidying = Tidying(store, Settings(storage=storage, database=DatabaseSettings()), clock=lambda: NOW)
        for number in range(OBJECT_BATCH + 1):
            await save(store, "a", f"r{number}", 31)
        old, young = await converse(store, "a", 11), await converse(store, "a", 9)
        await tidying.take_turn()
        assert len(await left(store, "a", *(f"r{number}" for number in range(OBJECT_BATCH + 1)))) == 1
        await tidying.take_turn()
        assert await left(store, "a", f"r{OBJECT_BATCH}") == []
        assert await store.conversations.get("a", old) is None
        assert await store.conversations.get("a", young) is not None

    async def test_zero_keeps_all_and_an_hour_passes_between(self, store: Store) -> None:
        now = NOW
        storage = StorageSettings(conversation_days=0)
        tidying = Tidying(store, Settings(storage=storage), clock=lambda: now)
        kept = await converse(store, "a", 4000)
        await tidying.take_turn()
        await save(store, "a", "r", 31)
        now += OBJECT_SECONDS - 1
        await tidying.take_turn()
        assert await left(store, "a", "r") == ["r"]
        now += 1
        await tidying.take_turn()
        assert await left(store, "a", "r") == []
        assert await store.conversations.get("a", kept) is not None

    async def test_what_other_servers_left_is_failed_meanwhile(self, empty: Database, store: Store) -> None:
        now = NOW
        tidying = Tidying(store, Settings(), clock=lambda: now)
        await tidying.take_turn()
        await save(Store(empty), "a", "r", 0, status="queued")
        await tidying.take_turn()
        assert (await store.responses.get("a", "r")).response["status"] == "queued"
        now += SECONDS_BETWEEN_ROUNDS
        await tidying.take_turn()
        assert (await store.responses.get("a", "r")).response["status"] == "failed"


@pytest.mark.parametrize("how", ["delete", "prune", "conversation", "item"])
async def test_what_was_deleted_is_in_none_of_sqlites_files(tmp_path: Path, how: str) -> None:
    store = Store(Database(tmp_path))
    await migrate(store.database)
    secret = "s3cr3t" * 2000
    response = {"id": "r", "status": "completed", "output": [{"text": secret}]}
    await store.responses.save("a", response, [{"text": secret}])
    made = await store.conversations.create("a", {"topic": "s3cr3t"}, [{"id": "i", "text": secret}])
    await store.responses.save("a", {**response, "id": "kept", "output": []}, [{"text": "harmless" * 2000}])
    if how == "prune":
        await store.object_removals.remove("responses", "a", None, 1)
        await store.object_removals.remove("conversations", "a", None, 1)
    else:
        assert await store.responses.delete("a", "r")
        if how == "item":
            assert await store.conversations.delete_item("a", made.id, "i")
        assert await store.conversations.delete("a", made.id)
    await store.database.forget()
    content = b"".join(path.read_bytes() for path in tmp_path.glob("llmos.db*"))
    assert re.search(b"s3cr3t", content) is None
    assert how == "prune" or b"harmless" in content
    await store.close()
