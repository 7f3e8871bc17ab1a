"""Many models, few workers: fakes that notice when they are ended under a request, and that answer by their name."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from llmos_server.contracts import EngineInfo, EngineState, EngineStats, ModelVersion
from llmos_server.engine.fleet_engine import EngineFleet, FleetEncoder, FleetGenerator
from llmos_server.engine.footprint import Footprint
from llmos_server.errors import EngineBusy, EngineFailed, InvalidRequest, ModelNotFound

WAIT = 20
SIZE = 2**30


def version(name: str, digest: str = "1", **fields: Any) -> ModelVersion:
    return ModelVersion(
        name=name, source=name, digest=f"sha256:{digest}", folder="/nowhere", weights=[], context_length=64,
        size_bytes=1, created=0, **fields,
    )  # fmt: skip


class FakeWorker:
    """Loads when told to, or at once; `submit` gives a future that `finish` settles."""

    alive: list[FakeWorker] = []

    def __init__(self, model: ModelVersion, footprint: Footprint, *, loads: bool = True) -> None:
        self.model = model
        self.footprint = footprint
        self.state: EngineState = "loading"
        self.info: EngineInfo | None = None
        self.stats = EngineStats()
        self.pid: int | None = None
        self.num_restarts = 0
        self.num_running = 0
        self.was_ended_under_requests = False
        self.load_failure = ""
        self.num_waits = 0
        self.ready = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self._loads = loads

    async def start(self) -> None:
        self.pid = 4711
        FakeWorker.alive.append(self)
        if self._loads:
            self.become_ready()

    def become_ready(self) -> None:
        self.info = EngineInfo(
            model_digest=self.model.digest, architecture="fake", dtype="float32", device="cpu", vocab_size=9,
            context_length=64, max_model_len=64, page_size=16, num_pages=4, load_seconds=0.5,
        )  # fmt: skip
        self.state = "ready"
        self.ready.set()

    def crash_first_start(self) -> None:
        """And be started again: those that wait are told so."""
        self.state = "restarting"
        self.ready.set()

    def fail(self, reason: str) -> None:
        self.load_failure, self.state = reason, "failed"
        self.ready.set()

    async def stop(self, grace: float = 0.0) -> None:
        self.was_ended_under_requests |= bool(self.num_running)
        self.state = "stopped"
        await self.may_end.wait()
        await asyncio.sleep(0)
        if self in FakeWorker.alive:
            FakeWorker.alive.remove(self)

    async def wait_ready(self, timeout: float | None = None) -> EngineInfo:
        try:
            async with asyncio.timeout(timeout):
                await self.ready.wait()
        except TimeoutError:
            raise EngineBusy("still loading") from None
        self.num_waits += 1
        if self.load_failure:
            raise EngineFailed(self.load_failure)
        if self.state == "restarting":
            raise EngineBusy("restarting")
        assert self.info is not None
        return self.info

    def submit(self, request: Any) -> tuple[str, str, Any]:
        assert self.state == "ready"
        return self.model.name, self.model.digest, request

    async def encode(self, request: Any) -> list[bytes]:
        return [self.model.name.encode()]


class Bench:
    """A fleet over fakes, and what it made."""

    def __init__(self, budget: int = 2, *, patience: float = 0.02, loads: bool = True, **options: Any) -> None:
        self.workers: list[FakeWorker] = []
        self.sizes: dict[str, int] = {}
        self.loads = loads
        self.fleet = EngineFleet(budget * SIZE, self.measure, self.create, patience=patience, **options)

    def measure(self, model: ModelVersion, num_decoders: int) -> Footprint:
        overhead = Footprint(weights=0, cache=0).total
        return Footprint(weights=self.sizes.get(model.name, 1) * SIZE - overhead, cache=0)

    def create(self, model: ModelVersion, footprint: Footprint) -> FakeWorker:
        self.workers.append(FakeWorker(model, footprint, loads=self.loads))
        return self.workers[-1]

    def engine(self, name: str, digest: str = "1", **fields: Any) -> Any:
        return self.fleet.engine(version(name, digest, **fields))

    @property
    def loaded(self) -> set[str]:
        return {worker.model.name for worker in FakeWorker.alive}


@pytest.fixture
async def bench() -> Any:
    made: list[Bench] = []

    def make(*args: Any, **options: Any) -> Bench:
        made.append(Bench(*args, **options))
        return made[-1]

    yield make
    for each in made:
        for worker in each.workers:
            worker.may_end.set()
        await asyncio.wait_for(each.fleet.stop(), WAIT)
        assert not any(worker.was_ended_under_requests for worker in each.workers)
    assert FakeWorker.alive == []


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT):
        while not condition():
            await asyncio.sleep(0.001)


async def test_a_model_is_loaded_by_its_first_request_and_kept(bench) -> None:
    b = bench()
    engine = b.engine("a")
    assert (engine.state, engine.info, b.loaded) == ("unloaded", None, set())
    with engine.hold():
        assert (await engine.wait_ready(WAIT)).num_pages == 4
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


async def test_a_wait_for_a_load_names_its_limit(bench) -> None:
    b = bench(loads=False)
    with pytest.raises(EngineBusy, match=r"still loading after 0.02 s \(api.load_timeout_seconds\)"):
        await b.engine("a").wait_ready(0.02)
    b.workers[0].become_ready()
    assert (await b.engine("a").wait_ready(WAIT)).load_seconds == 0.5
    assert len(b.workers) == 1


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


@pytest.mark.parametrize("seed", range(6))
async def test_many_clients_of_three_models_where_two_fit(bench, seed: int) -> None:
    """Each gets the right model's answer, also those that come while theirs is being evicted; some leave early."""
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
            assert sum(SIZE for _ in FakeWorker.alive) <= 2 * SIZE

    async with asyncio.timeout(60):
        await asyncio.gather(*(client() for _ in range(12)))
    assert len(answers) > 80
    assert all(answers)
    status = b.fleet.status()
    assert [(model.num_open_requests, model.num_waiting) for model in status.models] == [(0, 0)] * 3
    assert len(b.workers) > 3


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
