"""Which adapter a name leads to, and for whom."""

from __future__ import annotations

from typing import Any

import pytest
from job_fakes import make_job

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.errors import InvalidRequest
from llmos_server.store.adapters import register_adapter, register_temporary
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import Store

NAME = "tiny:1b:tidy"


def adapter(store: Store, digit: str = "a", **fields: Any) -> AdapterVersion:
    digest = f"sha256:{digit * 64}"
    values = {"name": NAME, "base": "tiny:1b", "base_digest": f"sha256:{'0' * 64}", "created": 7, **fields}
    folder = str(store.database.home / "adapters" / (digit * 64))
    return AdapterVersion(digest=digest, folder=folder, rank=8, num_bytes=100, **values)


async def test_a_key_sees_its_own_and_everybodys(store: Store) -> None:
    mine, theirs = adapter(store, "a", owner="ann"), adapter(store, "b", owner="bob")
    common = adapter(store, "c", name="tiny:1b:common")
    for each in (mine, theirs, common):
        await store.adapters.register(each)
    assert await store.adapters.find("ann", NAME) == mine
    assert await store.adapters.find("bob", NAME) == theirs
    assert await store.adapters.find("eve", NAME) is None
    assert await store.adapters.find("eve", common.name) == common
    assert await store.adapters.list("ann") == [common, mine]
    assert await store.adapters.list(EVERYBODY) == [common, mine, theirs]
    assert await store.adapters.of_name(NAME) == [mine, theirs]


async def test_a_name_is_given_anew(store: Store) -> None:
    await store.adapters.register(adapter(store, "a", owner="ann", is_shared=True))
    second = adapter(store, "b", owner="ann")
    await store.adapters.register(second)
    assert await store.adapters.find("ann", NAME) == second
    assert await store.adapters.digests() == {second.digest}


async def test_registration_is_part_of_the_callers_transaction(store: Store) -> None:
    async def finish() -> None:
        async with store.database.write() as connection:
            await register_adapter(connection, adapter(store))
            raise RuntimeError("the job lost its lease")

    with pytest.raises(RuntimeError):
        await finish()
    assert await store.adapters.find("", NAME) is None


async def test_what_a_job_asks_while_it_trains_it(store: Store) -> None:
    """One at a time for each job, found by its owner, in no list, and gone when the job is."""
    await store.jobs.add(make_job("ftjob-1", "tune"))
    named = {"job_id": "ftjob-1", "owner": "ann"}
    older = adapter(store, "a", name="tiny:1b:.ftjob-1-1", **named)
    newer = adapter(store, "b", name="tiny:1b:.ftjob-1-2", **named)
    lost = adapter(store, "c", name="tiny:1b:.ftjob-0-1", job_id="ftjob-0", owner="ann")
    result = adapter(store, "d", **named)
    await store.adapters.register(result)
    for each in (older, newer, lost):
        async with store.database.write() as connection:
            await register_temporary(connection, each)
    assert await store.adapters.find("ann", older.name) is None
    assert await store.adapters.find("ann", newer.name) == newer
    assert await store.adapters.list(EVERYBODY) == [result]
    await store.adapters.remove_temporary()
    assert await store.adapters.digests() == {newer.digest, result.digest}


async def test_sharing(store: Store) -> None:
    for digit, owner in (("a", "ann"), ("b", "bob")):
        await store.adapters.register(adapter(store, digit, owner=owner))
    assert await store.adapters.share("ann", NAME, is_shared=True)
    assert (await store.adapters.find("eve", NAME)) == adapter(store, "a", owner="ann", is_shared=True)
    assert (await store.adapters.find("bob", NAME)) == adapter(store, "b", owner="bob")
    with pytest.raises(InvalidRequest, match="everybody's already"):
        await store.adapters.share("bob", NAME, is_shared=True)
    assert await store.adapters.share("ann", NAME, is_shared=False)
    assert await store.adapters.find("eve", NAME) is None
    assert not await store.adapters.share("eve", NAME, is_shared=True)


async def test_only_the_owners_is_deleted(store: Store) -> None:
    mine = adapter(store, owner="ann")
    await store.adapters.register(mine)
    assert await store.adapters.delete("eve", NAME) is None
    assert await store.adapters.delete("ann", NAME) == mine
    assert await store.adapters.find("ann", NAME) is None
