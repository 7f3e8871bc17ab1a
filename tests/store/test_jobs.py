"""The queue on both databases: pages, turns among servers, and what goes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from job_fakes import make_job

from llmos_server.errors import Forbidden, InvalidRequest
from llmos_server.job_contracts import JobEvent, LeaseLost
from llmos_server.settings import JobsSettings
from llmos_server.store.database import Database
from llmos_server.store.job_leases import hold_of
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import Store

NOW = 1_000_000


async def test_each_job_is_claimed_once_however_many_servers_there_are(store: Store, tmp_path: Path, url: str) -> None:
    for number in range(12):
        await store.jobs.add(make_job(f"job_{number}", owner=f"o{number % 3}", created=number))
    servers = [Store(Database(tmp_path, url)) for _ in range(3)]

    async def work(name: str, own: Store) -> list[str]:
        claimed = []
        while (job := await own.job_leases.claim(name, ["batch"], NOW, 1000)) is not None:
            claimed.append(job.id)
        return claimed

    found = await asyncio.gather(*(work(f"s{number}", own) for number, own in enumerate(servers)))
    assert sorted(job_id for claimed in found for job_id in claimed) == sorted(f"job_{number}" for number in range(12))
    assert await store.job_leases.runners() <= {"s0", "s1", "s2"}
    assert not await store.job_leases.is_any_waiting(["batch"], NOW)
    for own in servers:
        await own.close()


async def test_the_order_of_claims(store: Store) -> None:
    await store.jobs.add(make_job("later", created=5))
    await store.jobs.add(make_job("sooner", created=3))
    await store.jobs.add(make_job("first", created=9, priority=-1))
    await store.jobs.add(make_job("other", created=9, owner="b"))
    await store.jobs.add(make_job("tune", "tune", created=1))
    order = []
    while (job := await store.job_leases.claim("s", ["batch"], NOW, 1000)) is not None:
        order.append(job.id)
    assert order == ["first", "other", "sooner", "later"]


async def test_a_lease_that_is_over_is_another_servers(store: Store) -> None:
    await store.jobs.add(make_job("job_1"))
    first = hold_of(await store.job_leases.claim("a", ["batch"], NOW, 1000))
    assert await store.job_leases.lost((), "b", NOW + 999) == []
    assert await store.job_leases.lost((), "a", NOW + 1001) == []
    assert await store.job_leases.lost((), "b", NOW + 1001) == [first] == await store.job_leases.lost({"a"}, "b", NOW)
    event = JobEvent(job_id="job_1", number=0, created=1, message="m", data={"x": 1.5})
    await store.job_leases.write(first, {"progress": 0.5}, events=[event, event], lease_until=NOW + 5000)
    assert await store.job_leases.lost((), "b", NOW + 1001) == []
    await store.job_leases.give_back(first, "its server ended", NOW, 5, values={"progress": 0.6}, events=[event])
    with pytest.raises(LeaseLost):
        await store.job_leases.give_back(first, "again", NOW, 5)
    assert await store.job_leases.claim("b", ["batch"], NOW + 999, 1000) is None
    second = await store.job_leases.claim("b", ["batch"], NOW + 1000, 1000)
    assert (second.epoch, second.attempts, second.progress) == (2, 2, 0.6)
    events = await store.job_events.list("", "job_1", limit=10, order="desc")
    assert [(one.number, one.data) for one in events] == [(number, {"x": 1.5}) for number in (3, 2, 1)]


async def test_a_job_that_never_comes_forward_has_failed(store: Store) -> None:
    await store.jobs.add(make_job("job_1"))
    now = NOW
    for attempt in (1, 2, 3):
        job = await store.job_leases.claim("a", ["batch"], now, 1000)
        assert job.attempts == attempt
        await store.job_leases.give_back(hold_of(job), "killed", now, 3)
        now += 10_000
    failed = await store.jobs.get("", "job_1")
    assert (failed.status, failed.error.code) == ("failed", "job_lost")
    assert "begun 3 times" in failed.error.message


async def test_pages(store: Store) -> None:
    for number in range(5):
        await store.jobs.add(make_job(f"job_{number}", owner="a", created=number))
    await store.jobs.add(make_job("tune_1", "tune", owner="a", created=9))
    await store.jobs.add(make_job("theirs", owner="b", created=9))
    page = await store.jobs.page("a", kinds=["batch"], limit=3)
    assert ([job.id for job in page.jobs], page.has_more) == (["job_4", "job_3", "job_2"], True)
    page = await store.jobs.page("a", kinds=["batch"], after="job_2", limit=3)
    assert ([job.id for job in page.jobs], page.has_more) == (["job_1", "job_0"], False)
    page = await store.jobs.page("a", order="asc", after="job_3", limit=3, statuses=["queued"])
    assert [job.id for job in page.jobs] == ["job_4", "tune_1"]
    with pytest.raises(InvalidRequest):
        await store.jobs.page("a", after="theirs", limit=3)
    assert await store.jobs.get("a", "theirs") is None
    assert await store.jobs.get("a", "tune_1", "batch") is None
    assert await store.jobs.wish("a", "theirs", "cancel") is None
    assert await store.jobs.resume("a", "theirs") is None


async def test_one_key_has_so_many(empty: Database, store: Store) -> None:
    bounded = Store(empty, jobs=JobsSettings(max_per_key=1))
    await bounded.jobs.add(make_job("job_1", owner="a"))
    with pytest.raises(Forbidden, match=r"jobs\.max_per_key"):
        await bounded.jobs.add(make_job("job_2", owner="a"))
    await bounded.jobs.add(make_job("job_3", owner="b"))
    await bounded.jobs.wish("a", "job_1", "cancel")
    await bounded.jobs.add(make_job("job_2", owner="a"))


async def test_what_goes(store: Store) -> None:
    await store.jobs.add(make_job("old", owner="a", payload=[1], status="succeeded", ended=10, result=b"12345"))
    await store.jobs.add(make_job("young", owner="a", payload=[1], status="failed", ended=20))
    await store.jobs.add(make_job("running", owner="a", payload=[1]))
    await store.jobs.add(make_job("theirs", owner="b", status="succeeded", ended=10))
    assert await store.jobs.count("a", 15) == (1, 8)
    assert await store.jobs.remove("a", 15, 10) == [("old", 8)]
    running = hold_of(await store.job_leases.claim("s", ["batch"], NOW, 1000))
    await store.job_leases.write(running, events=[JobEvent(job_id="running", number=0, created=1, message="m")])
    assert await store.jobs.count("a", None) == (2, 6)
    assert sorted(await store.jobs.remove("a", None, 10)) == [("running", 3), ("young", 3)]
    assert await store.job_events.list(EVERYBODY, "running", limit=10) == []
    with pytest.raises(LeaseLost):
        await store.job_leases.write(running)
    assert await store.jobs.remove_before(15, 10) == ["theirs"]
    assert await store.jobs.all_ids() == set()
