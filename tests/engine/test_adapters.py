"""Adapters are loaded on demand, kept while they are used, and evicted by age; nobody waits for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from client_fakes import collect, ready, running_client, until
from engine_fakes import Engine, ScriptedRunner, expected_choice, make_request

from llmos_server.adapter_contracts import LoadedAdapter
from llmos_server.contracts import GenerateRequest
from llmos_server.engine.core import EngineCore
from llmos_server.errors import InvalidRequest


def add(engine: Engine, request_id: str, adapter: str, max_tokens: int = 4) -> GenerateRequest:
    request = make_request(request_id, [1, 2, 3, 1, 2], max_tokens, adapter=adapter)
    engine.core.add(request)
    return request


def finish(engine: Engine, *requests: GenerateRequest) -> None:
    engine.run(100_000)
    for request in requests:
        assert engine.output(request.request_id) == expected_choice(request, 0).token_ids


def step_until(engine: Engine, *loaded: str) -> None:
    for _ in range(100_000):
        if set(engine.runner.adapters) == set(loaded):
            return
        engine.step()
    raise AssertionError(f"loaded are {set(engine.runner.adapters)}")


def test_a_batch_of_several() -> None:
    engine = Engine()
    finish(engine, *(add(engine, f"r{i}", adapter) for i, adapter in enumerate(["40-a", "", "10-a", "40-a", "40-b"])))
    assert set(engine.runner.adapters) == {"40-a", "10-a", "40-b"}
    stats = engine.core.stats().adapters
    assert (stats.num_loaded, stats.num_bytes, stats.num_loads, stats.num_evictions) == (3, 90, 3, 0)


def test_the_least_recently_used_goes() -> None:
    engine = Engine()
    for number, adapter in enumerate(["40-a", "40-b", "40-a", "60-a"]):
        finish(engine, add(engine, f"r{number}", adapter))
    loaded = [LoadedAdapter(digest="40-a", num_bytes=40), LoadedAdapter(digest="60-a", num_bytes=60)]
    assert engine.core.take_adapter_changes() == (loaded, {})
    assert engine.core.stats().adapters.num_evictions == 1
    assert engine.core.take_adapter_changes() is None


def test_what_is_in_use_stays() -> None:
    """Two that don't fit together: the second waits, and so does who comes behind it."""
    engine = Engine()
    first = add(engine, "first", "60-a", 30)
    step_until(engine, "60-a")
    second = add(engine, "second", "60-b")
    for _ in range(20):
        engine.step()
    third = add(engine, "third", "60-a")
    assert set(engine.runner.adapters) == {"60-a"}
    assert engine.core.stats().num_waiting == 2
    assert engine.output("second") == engine.output("third") == []
    finish(engine, first, second, third)


def test_one_that_cant_be_had_fails_its_requests_alone() -> None:
    engine = Engine()
    good, bad, large = add(engine, "good", "10-a"), add(engine, "bad", "missing"), add(engine, "large", "101-a")
    failed: dict[str, InvalidRequest] = {}
    while engine.core.has_work:
        engine.step()
        failed |= engine.core.take_failed()
        engine.core.take_adapter_changes()
    finish(engine, good)
    assert {name: error.code for name, error in failed.items()} == {"bad": "adapter_failed", "large": "adapter_failed"}
    assert "Raise engine.adapter_bytes" in str(failed[large.request_id])
    assert "no such adapter" in str(failed[bad.request_id])


def test_an_aborted_request_waits_no_more() -> None:
    engine = Engine()
    first = add(engine, "first", "60-a", 40)
    step_until(engine, "60-a")
    add(engine, "second", "60-b")
    engine.core.abort("second")
    third = add(engine, "third", "10-a")
    finish(engine, first, third)
    assert engine.output("second") == []


def test_loading_and_dropping_by_word() -> None:
    engine = Engine()
    engine.core.load_adapter("40-a")
    step_until(engine, "40-a")
    running = add(engine, "r", "40-a", 20)
    engine.core.drop_adapter("40-a")
    engine.step()
    assert set(engine.runner.adapters) == {"40-a"}
    finish(engine, running)
    engine.core.load_adapter("40-b")
    step_until(engine, "40-b")
    engine.core.drop_adapter("40-b")
    assert engine.runner.adapters == {}


def test_a_load_by_word_holds_nobody_up() -> None:
    engine = Engine()
    running = add(engine, "r", "60-a", 20)
    step_until(engine, "60-a")
    engine.core.load_adapter("60-b")
    failed: dict[str, str] = {}
    while not failed:
        engine.step()
        failed = (engine.core.take_adapter_changes() or ([], {}))[1]
    assert "in use" in failed["60-b"]
    finish(engine, running)


def test_pages_of_one_adapter_are_not_anothers() -> None:
    engine = Engine(page_size=2)
    for number, adapter in enumerate(["10-a", "10-b", "", "10-a"]):
        request = add(engine, f"r{number}", adapter)
        finish(engine, request)
        cached = engine.deltas[request.request_id, 0][0].num_cached_tokens
        assert cached == (4 if number == 3 else 0)


def test_an_engine_without_adapters_says_so() -> None:
    engine = Engine()
    core = EngineCore(engine.scheduler, ScriptedRunner(8, 4), engine.core._info)
    with pytest.raises(InvalidRequest, match="serves no adapters"):
        core.add(make_request("r", [1], adapter="10-a"))


async def test_a_worker_tells_what_it_has_loaded(tmp_path: Path) -> None:
    async with running_client() as (client, _):
        await ready(client)
        request = make_request("r", [1, 2], adapter="10-a")
        assert await collect(client.submit(request)) == {0: expected_choice(request, 0).token_ids}
        await until(lambda: [(one.digest, one.num_bytes) for one in client.adapters] == [("10-a", 10)])
        await client.load_adapter("20-a")
        used, waiting = client.adapters
        assert (used.last_used is None, waiting) == (False, LoadedAdapter(digest="20-a", num_bytes=20))
        await client.drop_adapter("10-a")
        assert client.adapters == [waiting]
        with pytest.raises(InvalidRequest, match="no such adapter"):
            await client.load_adapter("missing")
        with pytest.raises(InvalidRequest, match="no such adapter"):
            await collect(client.submit(make_request("s", [1], adapter="missing")))
