"""Models of a fleet that can't be loaded: told once, out of the way of others, tried again."""

from __future__ import annotations

import asyncio
import time

import pytest
from fleet_fakes import WAIT, until, version

from llmos_server.errors import EngineFailed


async def test_a_broken_model_fails_alone_gives_its_room_back_and_is_tried_again_on_request(bench) -> None:
    b = bench(budget=1, loads=False)
    asked = [asyncio.create_task(b.engine("bad").wait_ready(WAIT)) for _ in range(3)]
    await until(lambda: b.workers)
    b.workers[0].fail("bad could not be loaded: no tensors.")
    for error in await asyncio.gather(*asked, return_exceptions=True):
        assert isinstance(error, EngineFailed)
        assert "no tensors" in str(error)
    with pytest.raises(EngineFailed, match=r"no tensors.* llmos load bad"):
        await b.engine("bad").wait_ready(WAIT)
    b.loads = True
    await b.engine("good").wait_ready(WAIT)
    assert (b.engine("bad").state, b.engine("good").state) == ("failed", "ready")
    await b.fleet.load("bad", WAIT)
    assert (b.engine("bad").state, b.loaded) == ("ready", {"bad"})


async def test_a_failure_that_nobody_waits_for_is_seen(bench) -> None:
    b = bench(budget=1)
    await b.engine("a").wait_ready(WAIT)
    b.workers[0].fail("crashed too often")
    assert b.fleet.status().models[0].state == "failed"
    await b.engine("b").wait_ready(WAIT)
    assert b.loaded == {"b"}


async def test_a_load_that_fails_while_it_is_to_be_unloaded_is_not_begun_again_for_those_that_wait(bench) -> None:
    b = bench(loads=False)
    asked = asyncio.create_task(b.engine("bad").wait_ready(WAIT))
    await until(lambda: b.workers)
    unloading = asyncio.create_task(b.fleet.unload("bad", WAIT))
    waiting = asyncio.create_task(b.engine("bad").wait_ready(WAIT))
    await until(lambda: b.fleet.status().models[0].num_waiting)
    b.workers[0].fail("bad could not be loaded: no tensors.")
    b.loads = True
    with pytest.raises(EngineFailed, match="no tensors"):
        await asked
    with pytest.raises(EngineFailed, match=r"no tensors.* llmos load bad"):
        await waiting
    assert await unloading
    assert (b.engine("bad").state, len(b.workers)) == ("failed", 1)
    await b.fleet.load("bad", WAIT)
    assert b.engine("bad").state == "ready"


async def test_a_failed_model_is_tried_again_by_the_first_request_after_a_pause_that_doubles(bench) -> None:
    b = bench(budget=1, loads=False, retry_pause=0.05)
    for attempt in range(2):
        asked = asyncio.create_task(b.engine("bad").wait_ready(WAIT))
        await until(lambda attempt=attempt: len(b.workers) > attempt)
        b.workers[-1].fail("bad could not be loaded: the disk is full.")
        with pytest.raises(EngineFailed, match=r"disk is full.*tries it again.* llmos load bad") as failed:
            await asked
        assert failed.value.retry_after == 1.0
        with pytest.raises(EngineFailed, match="disk is full"):
            await b.engine("bad").wait_ready(WAIT)
        assert len(b.workers) == attempt + 1
        pause = b.fleet.member(version("bad")).retry_at - time.monotonic()
        assert 0 < pause <= 0.05 * 2**attempt
        await asyncio.sleep(pause)
    b.loads = True
    await b.engine("bad").wait_ready(WAIT)
    assert (b.engine("bad").state, len(b.workers)) == ("ready", 3)


async def test_what_is_loaded_at_the_start_is_waited_for_while_its_supervisor_starts_it_again(bench) -> None:
    b = bench(budget=1, loads=False, retry_pause=0.01)
    b.engine("default")
    await b.fleet.preload(["default"])
    await until(lambda: b.workers)
    b.workers[0].crash_first_start()
    await until(lambda: b.workers[0].num_waits > 2)
    b.workers[0].fail("default could not be loaded: it ended 5 times.")
    b.loads = True
    await until(lambda: b.engine("default").state == "ready")
    assert len(b.workers) == 2


async def test_what_is_loaded_at_the_start_is_tried_until_it_loads(bench) -> None:
    b = bench(budget=1, loads=False, retry_pause=0.01)
    b.engine("default")
    await b.fleet.preload(["default"])
    await until(lambda: b.workers)
    b.loads = True
    b.workers[0].fail("default could not be loaded: no memory.")
    with pytest.raises(EngineFailed):
        await b.engine("default").wait_ready(WAIT)
    assert "no memory" in b.engine("default").load_failure
    await until(lambda: b.engine("default").state == "ready")
