"""A model's life in the fleet: loaded by its first request, replaced, removed, unloaded."""

from __future__ import annotations

import asyncio

import pytest
from fleet_fakes import WAIT, FakeWorker, until

from llmos_server.engine.fleet_engine import FleetEncoder, FleetGenerator
from llmos_server.errors import EngineBusy, ModelNotFound


async def test_a_model_is_loaded_by_its_first_request_and_kept(bench) -> None:
    b = bench()
    engine = b.engine("a")
    assert (engine.state, engine.info, b.loaded) == ("unloaded", None, set())
    with engine.hold():
        assert (await engine.wait_ready(WAIT)).num_pages == 8
        assert engine.submit("x") == ("a", "sha256:1", "x")
    again = b.engine("a")
    assert (again.state, b.loaded, len(b.workers)) == ("ready", {"a"}, 1)
    assert isinstance(engine, FleetGenerator)
    encoder = b.engine("e", kind="encoder")
    assert isinstance(encoder, FleetEncoder)
    with encoder.hold():
        await encoder.wait_ready(WAIT)
        assert await encoder.encode(None) == [b"e"]


async def test_without_a_hold_nothing_is_handed_over(bench) -> None:
    engine = bench().engine("a")
    await engine.wait_ready(WAIT)
    with pytest.raises(RuntimeError, match="hold"):
        engine.submit("x")


async def test_a_wait_for_a_load_names_its_limit(bench) -> None:
    b = bench(loads=False)
    with pytest.raises(EngineBusy, match=r"still loading after 0.02 s \(api.load_timeout_seconds\)"):
        await b.engine("a").wait_ready(0.02)
    b.workers[0].become_ready()
    assert (await b.engine("a").wait_ready(WAIT)).load_seconds == 0.5
    assert len(b.workers) == 1


async def test_load_and_unload(bench) -> None:
    b = bench(pinned=["a"])
    b.engine("a")
    await b.fleet.load("a", WAIT)
    assert b.loaded == {"a"}
    engine = b.engine("a")
    with engine.hold():
        await engine.wait_ready(WAIT)
        with pytest.raises(EngineBusy, match=r"in use by 1 requests after 0\.01 s"):
            await b.fleet.unload("a", 0.01)
        unloading = asyncio.create_task(b.fleet.unload("a", WAIT))
        await asyncio.sleep(0.01)
        assert b.loaded == {"a"}
    assert await unloading
    assert b.loaded == set()
    assert not await b.fleet.unload("a", WAIT)


async def test_what_was_removed_meanwhile_is_neither_loaded_nor_unloaded(bench) -> None:
    b = bench()
    b.engine("a")
    b.fleet.remove("a", ModelNotFound("a was removed."))
    for work in (b.fleet.load("a", WAIT), b.fleet.unload("a", WAIT)):
        with pytest.raises(ModelNotFound):
            await work


async def test_another_version_takes_over_when_what_runs_is_done(bench) -> None:
    b = bench(budget=2)
    old = b.engine("a", "1")
    with old.hold():
        await old.wait_ready(WAIT)
        new = b.engine("a", "2")
        with new.hold():
            await new.wait_ready(WAIT)
            assert new.submit("x")[1] == "sha256:2"
            assert old.submit("x")[1] == "sha256:1"
    await until(lambda: len(FakeWorker.alive) == 1)
    assert FakeWorker.alive[0].model.digest == "sha256:2"
    assert [model.digest for model in b.fleet.status().models] == ["sha256:2"]
    with pytest.raises(EngineBusy, match="pulled anew"):
        await old.wait_ready(WAIT)


async def test_a_removed_model_ends_with_its_last_request_and_those_that_wait_are_told(bench) -> None:
    b = bench(budget=1)
    running = b.engine("a")
    with running.hold():
        await running.wait_ready(WAIT)
        waiting = asyncio.create_task(b.engine("b").wait_ready(WAIT))
        await until(lambda: b.fleet.status().models[1].num_waiting)
        b.fleet.remove("b", ModelNotFound("b was removed."))
        with pytest.raises(ModelNotFound):
            await waiting
        b.fleet.remove("a", ModelNotFound("a was removed."))
        assert running.submit("x")[0] == "a"
        assert b.fleet.status().models == []
    await until(lambda: not FakeWorker.alive)
    assert b.fleet.status().used_bytes == 0


async def test_what_nobody_uses_is_unloaded_after_a_while(bench) -> None:
    b = bench(idle_seconds=0.05, pinned=["p"])
    await b.engine("a").wait_ready(WAIT)
    await b.engine("p").wait_ready(WAIT)
    await until(lambda: b.loaded == {"p"})


async def test_stop_tells_those_that_wait(bench) -> None:
    b = bench(budget=1)
    engine = b.engine("a")
    with engine.hold():
        await engine.wait_ready(WAIT)
        waiting = asyncio.create_task(b.engine("b").wait_ready(WAIT))
        await until(lambda: b.fleet.status().models[1].num_waiting)
        await b.fleet.stop()
        with pytest.raises(EngineBusy, match="shutting down"):
            await waiting
    assert engine.state == "stopped"
