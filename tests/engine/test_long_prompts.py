"""A long prompt doesn't stall the answers beside it. Steps cost what seconds_of says, on a fake clock."""

from __future__ import annotations

import statistics

import pytest
from engine_fakes import Engine, make_request

LONG_TOKENS = 3000


def engine_with_streams(num_streams: int, max_stall: float, owner: str = "") -> Engine:
    engine = Engine(4096, 16, max_num_seqs=32, budget=512, step_seconds=0.9, max_stall=max_stall, verify=False)
    for number in range(num_streams):
        engine.core.add(make_request(f"stream {number}", [1, 2, number], max_tokens=2000, owner=owner))
    return engine


def step_seconds(engine: Engine) -> float:
    before = engine.clock.now
    engine.step()
    return engine.clock.now - before


def steps_to_first_token(engine: Engine, name: str) -> list[float]:
    steps: list[float] = []
    while not engine.output(name):
        assert len(steps) < 3000
        steps.append(step_seconds(engine))
    return steps


def prompt(length: int, salt: int = 0) -> list[int]:
    return [(position * 7 + salt) % 40 for position in range(length)]


@pytest.mark.parametrize("num_streams", [1, 8, 20])
@pytest.mark.parametrize("owner", ["", "another"])
def test_streams_go_on_in_at_most_three_times_their_time(num_streams: int, owner: str) -> None:
    engine = engine_with_streams(num_streams, 2.0, owner)
    before = statistics.median([step_seconds(engine) for _ in range(40)])
    lengths = [len(engine.output(f"stream {number}")) for number in range(num_streams)]
    engine.core.add(make_request("long", prompt(LONG_TOKENS)))
    steps = steps_to_first_token(engine, "long")
    assert max(steps) < 3 * before
    assert 1.6 * before < statistics.mean(steps) < 2.1 * before
    after = [len(engine.output(f"stream {number}")) for number in range(num_streams)]
    assert all(new - old == len(steps) for new, old in zip(after, lengths, strict=True))


def test_without_the_bound_they_wait_for_whole_chunks() -> None:
    engine = engine_with_streams(8, 0.0)
    before = statistics.median([step_seconds(engine) for _ in range(40)])
    engine.core.add(make_request("long", prompt(LONG_TOKENS)))
    assert max(steps_to_first_token(engine, "long")) > 4 * before


def test_a_short_prompt_behind_a_long_one_comes_first() -> None:
    engine = engine_with_streams(8, 2.0)
    for _ in range(40):
        engine.step()
    engine.core.add(make_request("long", prompt(LONG_TOKENS)))
    engine.step()
    engine.core.add(make_request("short", prompt(100, 1)))
    assert len(steps_to_first_token(engine, "short")) == 1
    assert not engine.output("long")
    steps_to_first_token(engine, "long")


def test_long_prompts_alone_have_whole_steps() -> None:
    engine = Engine(4096, 16, budget=512, step_seconds=0.9, max_stall=2.0, verify=False)
    for name in ("a", "b"):
        engine.core.add(make_request(name, prompt(LONG_TOKENS, ord(name)), max_tokens=1))
    engine.run(max_steps=2 * LONG_TOKENS // 200)
