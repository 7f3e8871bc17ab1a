"""Owners share an engine evenly, however many requests each has. Steps cost what seconds_of says, on a fake clock."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from engine_fakes import Engine, expected_choice, make_request, seconds_of

from llmos_server.engine.owners import BURST_TOKENS
from llmos_server.key_contracts import BACKGROUND

NUM_QUEUED = 500
STEP_SECONDS = 0.6


def prompt(rng: random.Random, num_tokens: int) -> list[int]:
    return [rng.randrange(40) for _ in range(num_tokens)]


def busy_engine(rng: random.Random, num_queued: int) -> Engine:
    """It knows its costs; `num_queued` requests of owner a have come, and the first of them run."""
    engine = Engine(4096, 16, max_num_seqs=64, budget=512, step_seconds=STEP_SECONDS, verify=False)
    engine.core.add(make_request("warm-up", prompt(rng, 300), 30, owner="nobody"))
    engine.run()
    for number in range(num_queued):
        engine.core.add(make_request(f"a{number}", prompt(rng, 200), 64, owner="a"))
    for _ in range(40 if num_queued else 0):
        engine.step()
    return engine


def time_to_first_token(engine: Engine, rng: random.Random, name: str, num_tokens: int) -> float:
    """Of a request of owner b that arrives in the middle of a step, if any runs."""
    before = engine.clock.now
    engine.step()
    arrived = (before + engine.clock.now) / 2
    engine.core.add(make_request(name, prompt(rng, num_tokens), 8, owner="b"))
    while (name, 0) not in engine.deltas:
        engine.step()
    first = engine.clock.now - arrived
    while not engine.deltas[name, 0][-1].finish_reason:
        engine.step()
    return first


@pytest.mark.parametrize("num_tokens", [150, 270, 1000])
def test_a_queue_of_one_owner_does_not_double_anothers_time_to_first_token(num_tokens: int) -> None:
    rng = random.Random(1)
    alone, beside = busy_engine(rng, 0), busy_engine(rng, NUM_QUEUED)
    for number in range(3):
        without = time_to_first_token(alone, rng, f"b{number}", num_tokens)
        assert time_to_first_token(beside, rng, f"b{number}", num_tokens) < 2 * without
    assert beside.core.stats().num_waiting > NUM_QUEUED / 2


def test_a_newcomer_gets_a_place_and_is_in_the_next_step() -> None:
    engine = Engine(num_pages=64, max_num_seqs=4, budget=16)
    for number in range(12):
        engine.core.add(make_request(f"a{number}", [1, 2, number], 30, owner="a"))
    for _ in range(3):
        engine.step()
    engine.core.add(make_request("b", list(range(10)), 4, owner="b"))
    assert "b" in {delta.request_id for delta in engine.step()}
    assert engine.core.stats().num_preemptions == 1
    running = {sequence.request.request_id for sequence in engine.scheduler.running}
    assert running == {"a0", "a1", "a2", "b"}  # The last one of a gave way.
    engine.run()
    assert engine.output("a3") == expected_choice(make_request("a3", [1, 2, 3], 30), 0).token_ids


def test_a_newcomer_gets_pages_from_the_owner_that_has_most() -> None:
    engine = Engine(num_pages=12, page_size=4, max_num_seqs=8, budget=64)
    for number in range(3):
        engine.core.add(make_request(f"a{number}", [number] * 13, 3, owner="a"))
    engine.step()
    assert engine.blocks.num_free_pages == 0
    engine.core.add(make_request("b", [9] * 9, 3, owner="b"))
    assert "b" in {delta.request_id for delta in engine.step()}
    engine.run()
    assert engine.blocks.num_free_pages == 12


def test_owners_with_as_much_to_do_get_as_much() -> None:
    """Places first, then tokens: the accounts of three owners stay within a few steps of each other."""
    engine = Engine(num_pages=512, page_size=4, max_num_seqs=9, budget=8)
    for number in range(90):
        engine.core.add(make_request(f"a{number}", [1, 2, number % 40], 30, owner="a"))
    for number in range(40):
        engine.core.add(make_request(f"b{number}", [3] * 20 + [number], 30, owner="b"))
        engine.core.add(make_request(f"c{number}", [4, number], 30, owner="c"))
    computed: Counter[str] = Counter()
    for _ in range(300):
        engine.step()
        for chunk in engine.runner.plans[-1].chunks:
            computed[chunk.sequence.request.owner] += chunk.num_tokens
    places = Counter(sequence.request.owner for sequence in engine.scheduler.running)
    assert set(places.values()) == {3}
    assert max(computed.values()) < 1.5 * min(computed.values())


def test_who_was_away_has_saved_no_turns_up() -> None:
    rng = random.Random(5)
    engine = Engine(num_pages=4096, page_size=16, max_num_seqs=2, budget=256, verify=False)
    engine.core.add(make_request("b-early", [1], 1, owner="b"))
    for number in range(200):
        engine.core.add(make_request(f"a{number}", prompt(rng, 200), 2, owner="a"))
    for _ in range(60):
        engine.step()
    for number in range(200):
        engine.core.add(make_request(f"b{number}", prompt(rng, 200), 2, owner="b"))
    finished: Counter[str] = Counter()
    for _ in range(80):
        for delta in engine.step():
            finished[delta.request_id[0]] += delta.finish_reason is not None
    burst = BURST_TOKENS / 200
    assert finished["a"] >= finished["b"] - burst - 2
    assert finished["b"] >= finished["a"]


def test_newcomers_one_after_the_other_do_not_keep_passing_who_waits() -> None:
    engine = Engine(num_pages=1000, page_size=16, max_num_seqs=1, budget=8192, verify=False)
    engine.core.add(make_request("a", [1] * 8000, 4, owner="a"))
    engine.step()
    engine.core.add(make_request("waits", [2], 4, owner="w"))
    for number in range(40):  # There is always one that came just now and has had nothing.
        engine.core.add(make_request(f"n{number}", [3], 4, owner=f"n{number}"))
        engine.step()
    engine.run()
    assert list(dict.fromkeys(name for name, _ in engine.deltas))[:3] == ["a", "waits", "n0"]


def test_a_priority_orders_an_owners_own_requests_only() -> None:
    engine = Engine(max_num_seqs=1)
    engine.core.add(make_request("a-first", [1], 2, owner="a"))
    engine.step()
    for name, owner, priority in (("b", "b", 9), ("a-late", "a", 0), ("a-urgent", "a", -9)):
        engine.core.add(make_request(name, [1, 2], 2, owner=owner, priority=priority))
    engine.run()
    assert list(dict.fromkeys(name for name, _ in engine.deltas)) == ["a-first", "b", "a-urgent", "a-late"]


def test_steps_stay_within_their_time_while_answers_are_written() -> None:
    rng = random.Random(2)
    engine = Engine(4096, 16, max_num_seqs=64, budget=512, step_seconds=STEP_SECONDS)
    engine.core.add(make_request("stream", prompt(rng, 20), 200))
    for number in range(6):
        engine.step()
        engine.core.add(make_request(f"long-{number}", prompt(rng, 900), 5))
    longest = 0.0
    while engine.core.has_work:
        engine.step()
        longest = max(longest, seconds_of(engine.runner.plans[-1]))
    assert longest < 1.2 * STEP_SECONDS
    unbounded = Engine(4096, 16, max_num_seqs=64, budget=512)
    unbounded.core.add(make_request("long", prompt(rng, 900), 5))
    unbounded.step()
    assert seconds_of(unbounded.runner.plans[-1]) > 2 * STEP_SECONDS


def seconds_for_an_answer(others: str | None) -> float:
    """Of owner b, 200 tokens after 150, beside a hundred requests of `others`."""
    rng = random.Random(2)
    engine = Engine(4096, 16, max_num_seqs=64, budget=512, step_seconds=STEP_SECONDS, verify=False)
    for number in range(100 if others else 0):
        engine.core.add(make_request(f"o{number}", prompt(rng, 200), 400, owner=others or ""))
    for _ in range(40):
        engine.step()
    before = engine.clock.now
    engine.core.add(make_request("b", prompt(rng, 150), 200, owner="b"))
    while not (told := engine.deltas.get(("b", 0))) or not told[-1].finish_reason:
        engine.step()
    return engine.clock.now - before


def test_what_is_asked_in_the_background_waits_for_all_others() -> None:
    alone, beside, ahead = (seconds_for_an_answer(others) for others in (None, "a", f"{BACKGROUND}a"))
    assert beside > 4 * alone
    assert ahead < 2 * alone


def test_the_background_loses_its_places_first_and_takes_none() -> None:
    engine = Engine(num_pages=64, max_num_seqs=4, budget=16)
    for number in range(4):
        engine.core.add(make_request(f"batch{number}", [1, 2, number], 30, owner=f"{BACKGROUND}a"))
    engine.step()
    for number in range(4):
        engine.core.add(make_request(f"b{number}", [3, 4, number], 8, owner="b"))
        engine.step()
    assert {seq.request.owner for seq in engine.scheduler.running} == {"b"}
    engine.run()
    assert {delta[-1].finish_reason for delta in engine.deltas.values()} == {"length"}
