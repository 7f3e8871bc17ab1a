from __future__ import annotations

import pytest
from engine_fakes import NAN_TOKEN, Engine, expected_choice, expected_prompt_logprobs, make_request

from llmos_server.engine.scheduler import AGING_SECONDS
from llmos_server.errors import InvalidRequest


def assert_all_right(engine: Engine, *requests) -> None:
    for request in requests:
        for index in range(request.n):
            expected = expected_choice(request, index)
            assert engine.output(request.request_id, index) == expected.token_ids
            assert engine.deltas[request.request_id, index][-1].finish_reason == expected.finish_reason
    assert engine.blocks.num_free_pages == engine.blocks.num_pages


def order_of_first_tokens(engine: Engine, max_steps: int = 500) -> list[str]:
    order: list[str] = []
    for _ in range(max_steps):
        if not engine.core.has_work:
            break
        order += [delta.request_id for delta in engine.step() if delta.request_id not in order]
    return order


def test_prompt_longer_than_the_budget_is_prefilled_in_chunks() -> None:
    engine = Engine(budget=5)
    request = make_request("a", list(range(17)))
    engine.core.add(request)
    engine.run()
    starts = [(plan.chunks[0].start, plan.chunks[0].num_tokens) for plan in engine.runner.plans]
    assert starts[:4] == [(0, 5), (5, 5), (10, 5), (15, 2)]
    assert_all_right(engine, request)


def test_decodes_and_prefill_share_a_step() -> None:
    engine = Engine(budget=8)
    first, second = make_request("a", [1, 2], max_tokens=20), make_request("b", list(range(20)))
    engine.core.add(first)
    engine.step()
    engine.core.add(second)
    engine.step()
    plan = engine.runner.plans[-1]
    assert [(chunk.sequence.request.request_id, chunk.num_tokens) for chunk in plan.chunks] == [("a", 1), ("b", 7)]
    engine.run()
    assert_all_right(engine, first, second)


def test_budget_below_the_number_of_decodes_takes_turns() -> None:
    engine = Engine(budget=2)
    request = make_request("a", [1, 2], max_tokens=12, n=5)
    engine.core.add(request)
    while engine.core.has_work:
        engine.step()
        lengths = [len(engine.output("a", index)) for index in range(5)]
        assert max(lengths) - min(lengths) <= 1
    assert_all_right(engine, request)


def test_equal_priorities_are_first_come_first_served() -> None:
    engine = Engine(max_num_seqs=1)
    for name in "abc":
        engine.core.add(make_request(name, [1, 2, 3]))
    assert order_of_first_tokens(engine) == ["a", "b", "c"]


def test_lower_priority_number_runs_earlier() -> None:
    engine = Engine(max_num_seqs=1)
    for name, priority in (("a", 0), ("b", 5), ("c", -1)):
        engine.core.add(make_request(name, [1, 2, 3], priority=priority))
    assert order_of_first_tokens(engine) == ["c", "a", "b"]


def test_priorities_age() -> None:
    engine = Engine(max_num_seqs=1)
    engine.core.add(make_request("old", [1, 2, 3], priority=2))
    engine.clock.now += 2 * AGING_SECONDS + 1
    engine.core.add(make_request("new", [1, 2, 3], priority=0))
    assert order_of_first_tokens(engine) == ["old", "new"]


def test_steady_urgent_arrivals_starve_nobody() -> None:
    engine = Engine(max_num_seqs=1)
    engine.core.add(make_request("patient", [1, 2, 3], priority=1, max_tokens=2))
    for number in range(100):
        engine.core.add(make_request(f"urgent-{number}", [1, 2], priority=0, max_tokens=2))
        engine.clock.now += 1.0
        engine.step()
    assert ("patient", 0) in engine.deltas
    engine.run()


def test_worst_ranked_sequence_is_preempted_and_recomputed() -> None:
    engine = Engine(num_pages=5, page_size=4)
    first, second = make_request("a", [1] * 7, max_tokens=12), make_request("b", [2] * 7, max_tokens=12)
    engine.core.add(first)
    engine.core.add(second)
    engine.run()
    assert engine.core.stats().num_preemptions > 0
    last_of_first = next(n for n, plan in enumerate(engine.runner.plans) if not _runs(plan, "a") and n > 0)
    assert all(_runs(plan, "a") for plan in engine.runner.plans[:last_of_first])
    assert_all_right(engine, first, second)


def test_urgent_request_keeps_its_pages() -> None:
    engine = Engine(num_pages=5, page_size=4)
    slow, urgent = make_request("slow", [1] * 7, max_tokens=12), make_request("urgent", [2] * 7, 12, priority=-1)
    engine.core.add(slow)
    engine.step()
    engine.core.add(urgent)
    engine.run()
    assert engine.core.stats().num_preemptions > 0
    preempted = [plan for plan in engine.runner.plans if _runs(plan, "urgent") and not _runs(plan, "slow")]
    assert preempted
    assert_all_right(engine, slow, urgent)


def test_preempted_sequence_finds_its_pages_again() -> None:
    engine = Engine(num_pages=6, page_size=4)
    first, second = make_request("a", [1] * 8, max_tokens=6), make_request("b", [2] * 8, max_tokens=12)
    engine.core.add(first)
    engine.core.add(second)
    engine.run()
    again = [c for plan in engine.runner.plans[1:] for c in plan.chunks if c.num_tokens > 1]
    assert engine.core.stats().num_preemptions == 1
    assert [chunk.sequence.request.request_id for chunk in again] == ["b"]
    assert again[0].start == 8
    assert_all_right(engine, first, second)


def test_cached_tokens_are_those_of_the_first_admission() -> None:
    engine = Engine(page_size=4)
    request = make_request("a", list(range(10)))
    engine.core.add(request)
    engine.run()
    again = make_request("b", list(range(10)), n=2)
    engine.core.add(again)
    engine.run()
    assert {delta.num_cached_tokens for delta in engine.deltas["a", 0]} == {0}
    assert {delta.num_cached_tokens for i in range(2) for delta in engine.deltas["b", i]} == {8}
    stats = engine.core.stats()
    assert (stats.prefix_queries, stats.prefix_hits) == (20, 8)
    assert_all_right(engine, request, again)


def test_answer_is_cached_for_the_next_turn() -> None:
    engine = Engine(page_size=4)
    request = make_request("a", [1, 2, 3], max_tokens=6)
    engine.core.add(request)
    engine.run()
    engine.core.add(make_request("b", [1, 2, 3, *engine.output("a"), 4, 5]))
    engine.run()
    assert engine.deltas["b", 0][0].num_cached_tokens == 8


def test_choices_share_the_prompt() -> None:
    engine = Engine(num_pages=9, page_size=4)
    request = make_request("a", list(range(14)), n=4, max_tokens=2)
    engine.core.add(request)
    engine.step()
    assert len(engine.runner.plans) == 1
    assert [sequence.index for sequence in engine.runner.plans[0].chunks[0].sample_for] == [0, 1, 2, 3]
    assert engine.blocks.num_free_pages == 9 - 3 - 4
    engine.step()
    assert len(engine.runner.plans[1].page_copies) == 3
    engine.run()
    assert_all_right(engine, request)


def test_choice_without_a_page_waits_and_recomputes() -> None:
    engine = Engine(num_pages=4, page_size=4)
    request = make_request("a", list(range(14)), n=3, max_tokens=2)
    engine.core.add(request)
    engine.step()
    assert engine.core.stats().num_waiting == 2
    engine.run()
    assert_all_right(engine, request)


@pytest.mark.parametrize("caching", [True, False])
def test_more_choices_than_sequences_in_a_step(caching: bool) -> None:
    engine = Engine(max_num_seqs=2, caching=caching)
    request = make_request("a", list(range(10)), n=5, max_tokens=3)
    engine.core.add(request)
    engine.run()
    assert_all_right(engine, request)


def test_choice_zero_is_the_same_alone() -> None:
    alone, together = Engine(), Engine()
    alone.core.add(make_request("a", [1, 2, 3], max_tokens=9))
    together.core.add(make_request("a", [1, 2, 3], max_tokens=9, n=3))
    alone.run()
    together.run()
    assert alone.output("a") == together.output("a")
    assert together.output("a", 1) != together.output("a", 2)


@pytest.mark.parametrize("n", [1, 3])
def test_no_tokens_wanted(n: int) -> None:
    engine = Engine(budget=4)
    request = make_request("a", list(range(9)), max_tokens=0, n=n, prompt_logprobs=0)
    engine.core.add(request)
    engine.run()
    for index in range(n):
        (delta,) = engine.deltas["a", index]
        assert (delta.token_ids, delta.finish_reason) == ([], "length")
    assert engine.deltas["a", 0][0].prompt_logprobs == expected_prompt_logprobs(request)
    assert_all_right(engine, request)


def test_prompt_logprobs_skip_the_look_up_but_fill_the_cache() -> None:
    engine = Engine(page_size=4, budget=5)
    for name in "ab":
        request = make_request(name, list(range(12)), prompt_logprobs=0)
        engine.core.add(request)
        engine.run()
        assert engine.deltas[name, 0][0].num_cached_tokens == 0
        assert engine.deltas[name, 0][0].prompt_logprobs == expected_prompt_logprobs(request)
    engine.core.add(make_request("c", list(range(12))))
    engine.run()
    assert engine.deltas["c", 0][0].num_cached_tokens == 8
    assert engine.core.stats().prefix_queries == 12


def test_stop_token_is_no_output() -> None:
    request = make_request("a", [1, 2, 3], max_tokens=50, logprobs=0)
    free_run = expected_choice(request, 0).token_ids
    stop = next(token for token in free_run[3:] if token not in free_run[:3])
    request = make_request("a", [1, 2, 3], max_tokens=50, logprobs=0, stop_token_ids=(stop,))
    engine = Engine()
    engine.core.add(request)
    engine.run()
    last = engine.deltas["a", 0][-1]
    assert (last.token_ids, last.finish_reason, last.stop_token_id, last.logprobs) == ([], "stop", stop, [])
    assert last.cumulative_logprob == pytest.approx(expected_choice(request, 0).cumulative_logprob)
    assert stop not in engine.output("a")


def test_timings_come_with_the_first_delta_of_choice_zero() -> None:
    engine = Engine(max_num_seqs=1)
    engine.core.add(make_request("a", [1], max_tokens=3))
    engine.core.add(make_request("b", [2], n=2))
    engine.clock.now += 5.0
    engine.step()
    engine.clock.now += 2.0
    engine.run()
    assert [delta.queue_seconds for delta in engine.deltas["a", 0]] == [5.0, None, None]
    assert engine.deltas["b", 0][0].queue_seconds == 7.0
    assert engine.deltas["b", 0][0].prefill_seconds == 0.0
    assert engine.deltas["b", 1][0].queue_seconds is None


def test_abort_frees_the_pages_at_once() -> None:
    engine = Engine()
    engine.core.add(make_request("a", list(range(10)), max_tokens=50, n=2))
    engine.core.add(make_request("b", list(range(20, 30)), max_tokens=50))
    engine.step()
    engine.step()
    engine.core.abort("a")
    engine.core.abort("b")
    engine.core.abort("b")
    engine.core.abort("never seen", 3)
    assert not engine.core.has_work
    assert engine.step() == []
    assert engine.core.stats().num_free_pages == engine.blocks.num_pages


@pytest.mark.parametrize("num_steps", [0, 1, 2, 6])
@pytest.mark.parametrize("aborted", [0, 1, 2])
def test_abort_of_one_choice_leaves_the_others(aborted: int, num_steps: int) -> None:
    engine = Engine(budget=4)
    request = make_request("a", list(range(10)), max_tokens=8, n=3)
    engine.core.add(request)
    for _ in range(num_steps):
        engine.step()
    engine.core.abort("a", aborted)
    engine.run()
    for index in {0, 1, 2} - {aborted}:
        assert engine.output("a", index) == expected_choice(request, index).token_ids
    assert engine.blocks.num_free_pages == engine.blocks.num_pages


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (make_request("a", []), "prompt"),
        (make_request("a", [1] * 30, max_tokens=3), None),
        (make_request("a", [50]), "prompt"),
        (make_request("a", [-1]), "prompt"),
        (make_request("a", [1], n=0), "n"),
        (make_request("a", [1], max_tokens=-1), "max_tokens"),
        (make_request("a", [1], logit_bias={50: 1.0}), "logit_bias"),
        (make_request("a", [1], stop_token_ids=(99,)), "stop_token_ids"),
    ],
)
def test_what_cannot_run_is_refused(request_, param) -> None:
    engine = Engine(num_pages=8, page_size=4)
    with pytest.raises(InvalidRequest) as refused:
        engine.core.add(request_)
    assert refused.value.param == param
    assert not engine.core.has_work


def test_same_id_twice_is_refused() -> None:
    engine = Engine()
    engine.core.add(make_request("a", [1]))
    with pytest.raises(InvalidRequest, match="running already"):
        engine.core.add(make_request("a", [2]))
    engine.run()
    engine.core.add(make_request("a", [2]))


def test_request_that_fills_the_pool_fits() -> None:
    engine = Engine(num_pages=8, page_size=4)
    request = make_request("a", [1] * 20, max_tokens=12)
    engine.core.add(request)
    engine.run()
    assert_all_right(engine, request)


@pytest.mark.parametrize("n", [1, 3])
def test_request_whose_numbers_break_down_ends_alone(n: int) -> None:
    engine = Engine()
    request = make_request("good", [1, 2, 3], max_tokens=9)
    engine.core.add(request)
    engine.core.add(make_request("broken", [1, 2, NAN_TOKEN], n=n))
    engine.step()
    assert engine.core.take_broken() == ["broken"]
    assert engine.core.take_broken() == []
    engine.run()
    assert {name for name, _ in engine.deltas} == {"good"}
    assert_all_right(engine, request)


def _runs(plan, request_id: str) -> bool:
    return any(chunk.sequence.request.request_id == request_id for chunk in plan.chunks)
