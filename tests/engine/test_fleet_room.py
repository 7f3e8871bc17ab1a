"""More models than memory: who is evicted for whom, who waits, and what the refused are told."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from fleet_fakes import SIZE, WAIT, FakeWorker, until

from llmos_server.errors import EngineBusy, InvalidRequest, ModelNotFound


async def test_a_third_model_evicts_the_least_recently_used(bench) -> None:
    b = bench(budget=2)
    for name in ("a", "b", "a", "c"):
        await b.engine(name).wait_ready(WAIT)
    assert b.loaded == {"a", "c"}
    status = {model.name: model for model in b.fleet.status().models}
    assert (status["b"].state, status["b"].num_evictions, status["b"].num_loads) == ("unloaded", 1, 1)
    assert status["b"].load_seconds == 0.5
    assert b.fleet.status().used_bytes == 2 * SIZE
    assert b.engine("b").info is not None  # What it published stays known.


async def test_a_load_waits_until_the_evicted_process_has_ended(bench) -> None:
    b = bench(budget=1)
    await b.engine("a").wait_ready(WAIT)
    b.workers[0].may_end.clear()
    asked = asyncio.create_task(b.engine("b").wait_ready(WAIT))
    await until(lambda: b.workers[0].state == "stopped")
    await asyncio.sleep(0.01)
    assert len(b.workers) == 1
    b.workers[0].may_end.set()
    await asked
    assert b.loaded == {"b"}


async def test_a_held_model_is_not_evicted_and_the_wait_for_it_ends_with_the_stated_limit(bench) -> None:
    b = bench(budget=1)
    engine = b.engine("a")
    with engine.hold():
        await engine.wait_ready(WAIT)
        with pytest.raises(EngineBusy, match=r"within 0.05 s .*load_timeout_seconds.*a \(1024 MiB, 1 in use\)"):
            await b.engine("b").wait_ready(0.05)
        assert b.loaded == {"a"}
    await b.engine("b").wait_ready(WAIT)


async def test_a_busy_model_drains_for_one_that_waits_and_comes_back_in_its_turn(bench) -> None:
    b = bench(budget=1)
    running, other, late = b.engine("a"), b.engine("b"), b.engine("a")
    with running.hold():
        await running.wait_ready(WAIT)
        waiting = asyncio.create_task(other.wait_ready(WAIT))
        await until(lambda: b.fleet.status().models[1].num_waiting)
        await asyncio.sleep(0.1)
        returning = asyncio.create_task(late.wait_ready(WAIT))
        await asyncio.sleep(0.02)
        assert not returning.done()
        assert running.submit("x")[0] == "a"
        await running.wait_ready(WAIT)  # Who is in stays in.
    await waiting
    await returning
    assert [worker.model.name for worker in b.workers] == ["a", "b", "a"]


async def test_pinned_and_unpinned_while_it_runs(bench) -> None:
    """By name: also of a model that isn't loaded, and of the version that comes after this one."""
    b = bench(budget=2)
    b.fleet.pin("a", is_pinned=True)
    for name in ("a", "b", "c"):
        await b.engine(name).wait_ready(WAIT)
    assert b.loaded == {"a", "c"}
    assert {model.name for model in b.fleet.status().models if model.is_pinned} == {"a"}
    b.fleet.pin("c", is_pinned=True)
    with pytest.raises(InvalidRequest, match=r"beside a, c \(pinned\)"):
        await b.engine("b").wait_ready(WAIT)
    b.fleet.pin("a", is_pinned=False)
    await b.engine("b").wait_ready(WAIT)
    assert b.loaded == {"b", "c"}


async def test_a_model_too_large_is_refused_with_the_bytes(bench) -> None:
    b = bench(budget=3, pinned=["p"])
    b.sizes = {"large": 4, "p": 2, "medium": 2}
    with pytest.raises(InvalidRequest, match=rf"large needs {4 * SIZE} bytes .* {3 * SIZE} bytes, .*memory_bytes") as e:
        await b.engine("large").wait_ready(WAIT)
    assert (e.value.param, e.value.code) == ("model", "model_too_large")
    await b.engine("medium").wait_ready(WAIT)
    await b.engine("p").wait_ready(WAIT)
    assert b.loaded == {"p"}
    with pytest.raises(InvalidRequest, match=rf"There are {SIZE} bytes beside p \(pinned\)"):
        await b.engine("medium").wait_ready(WAIT)
    assert b.loaded == {"p"}


async def test_who_is_admitted_too_late_is_told_of_the_limit_and_keeps_nothing(bench) -> None:
    b = bench(budget=1, patience=WAIT)
    running = b.engine("a")
    with running.hold():
        await running.wait_ready(WAIT)
        b.sizes["empty"] = 0
        first = asyncio.create_task(b.engine("first").wait_ready(WAIT))
        await until(lambda: b.fleet.status().models[1].num_waiting)
        late = asyncio.create_task(b.engine("empty").wait_ready(0))
        await asyncio.sleep(0)  # It waits,
        await asyncio.sleep(0)  # its time is over, and before it wakes up there is room for it.
        b.fleet.remove("first", ModelNotFound("first was removed."))
        with pytest.raises(EngineBusy, match="within 0 s"):
            await late
        assert b.fleet.status().models[1].num_loads == 1
        with pytest.raises(ModelNotFound):
            await first
    assert [model.num_open_requests for model in b.fleet.status().models] == [0, 0]


@pytest.mark.parametrize("seed", range(6))
async def test_many_clients_of_three_models_where_two_fit(bench, seed: int) -> None:
    """Each gets the right model's answer, also those that come while theirs is being evicted; some leave early. Jobs
    borrow memory meanwhile."""
    random_numbers = random.Random(seed)
    b = bench(budget=2, patience=0.01)
    answers: list[bool] = []

    async def client() -> None:
        for _ in range(12):
            name = random_numbers.choice("abc")
            engine = b.engine(name)
            asked = asyncio.create_task(one_request(engine, name))
            if random_numbers.random() < 0.2:
                await asyncio.sleep(random_numbers.random() * 0.01)
                asked.cancel()
                await asyncio.wait([asked])
            else:
                await asked

    async def one_request(engine: Any, name: str) -> None:
        with engine.hold():
            await engine.wait_ready(WAIT)
            worker = engine._member.worker
            worker.num_running += 1
            try:
                answered = engine.submit(name)
                await asyncio.sleep(random_numbers.random() * 0.004)
                answers.append(answered[0] == name and worker.state == "ready")
            finally:
                worker.num_running -= 1
            check_room()

    def check_room() -> None:
        assert sum(worker.num_bytes for worker in FakeWorker.alive) + b.fleet.status().lent_bytes <= 2 * SIZE

    async def job() -> None:
        for _ in range(5):
            loan = await b.fleet.lending.borrow(random_numbers.choice([SIZE // 4, SIZE]))
            check_room()
            await asyncio.sleep(random_numbers.random() * 0.02)
            b.fleet.lending.give_back(loan)
            await asyncio.sleep(0.002)

    async with asyncio.timeout(60):
        await asyncio.gather(*(client() for _ in range(12)), job())
    assert len(answers) > 80
    assert all(answers)
    status = b.fleet.status()
    assert [(model.num_open_requests, model.num_waiting) for model in status.models] == [(0, 0)] * 3
    assert len(b.workers) > 3
    assert (status.lent_bytes, status.used_bytes) == (0, sum(worker.num_bytes for worker in FakeWorker.alive))
