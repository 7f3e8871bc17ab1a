"""Continuations that are given: what they cost in steps and rows, and how they end."""

from __future__ import annotations

import pytest
from engine_fakes import BAD_GUESS, NAN_TOKEN, Engine, ScriptedProposer, expected_choice, make_request

from llmos_server.contracts import GenerateRequest, ScoreRequest
from llmos_server.errors import InvalidRequest

PROMPT = [1, 2, 3, 4, 5, 6, 7, 8, 9]


def scoring(*continuations: list[int], prompt: list[int] = PROMPT, request_id: str = "s") -> GenerateRequest:
    return ScoreRequest(request_id=request_id, prompt_ids=prompt, continuations=list(continuations)).to_generate()


def check(engine: Engine, request: GenerateRequest) -> None:
    for index, continuation in enumerate(request.continuations):
        deltas = engine.deltas[request.request_id, index]
        assert engine.output(request.request_id, index) == continuation
        entries = [entry for delta in deltas for entry in delta.logprobs or []]
        assert entries == expected_choice(request, index).logprobs
        assert deltas[-1].finish_reason == "length"


@pytest.mark.parametrize("caching", [True, False])
def test_the_prompt_is_computed_once_and_the_rest_in_one_more_step(caching: bool) -> None:
    engine = Engine(caching=caching)
    request = scoring([1], [2, 3], [4, 5, 6], [1])
    engine.core.add(request)
    engine.run()
    check(engine, request)
    prefill, rest = engine.runner.plans
    assert prefill.num_tokens == len(PROMPT)
    assert sorted(chunk.token_ids for chunk in rest.chunks) == [[2], [4, 5]]


def test_a_single_continuation_needs_no_second_step() -> None:
    engine = Engine()
    request = scoring([4, 5, 6])
    engine.core.add(request)
    engine.run()
    check(engine, request)
    (plan,) = engine.runner.plans
    assert plan.chunks[0].token_ids == [*PROMPT, 4, 5]


def test_what_the_step_has_no_room_for_comes_later() -> None:
    engine = Engine(budget=10)
    request = scoring([*range(1, 30)])
    engine.core.add(request)
    engine.run()
    check(engine, request)
    assert [plan.num_tokens for plan in engine.runner.plans] == [10, 10, 10, 7]


def test_a_long_continuation_takes_a_bounded_number_of_rows() -> None:
    engine = Engine(budget=500)
    request = scoring([1] * 100)
    engine.core.add(request)
    engine.run()
    check(engine, request)
    assert [len(chunk.draft_ids) for plan in engine.runner.plans for chunk in plan.chunks] == [63, 35]


def test_more_continuations_than_places() -> None:
    engine = Engine(max_num_seqs=2)
    request = scoring(*([first, 3, 4] for first in range(7)))
    engine.core.add(request)
    engine.run()
    check(engine, request)
    assert engine.blocks.num_free_pages == engine.blocks.num_pages


def test_they_are_no_guesses() -> None:
    engine = Engine(proposer=ScriptedProposer())
    engine.core.add(scoring([1, 2, 3, 4], [3, 4, 5, 6]))
    engine.core.add(make_request("g", [5, 5, 5], 12))
    engine.run()
    assert engine.output("g") == expected_choice(make_request("g", [5, 5, 5], 12), 0).token_ids
    stats = engine.core.stats()
    assert stats.num_draft_tokens <= 12
    assert "s" not in {sequence.request.request_id for sequence in engine.scheduler._speculation._proposer.known}


@pytest.mark.parametrize("request_", [scoring([1, 2], prompt=[NAN_TOKEN]), scoring([1, BAD_GUESS, 2])])
def test_a_row_that_is_not_finite_ends_the_request(request_: GenerateRequest) -> None:
    engine = Engine()
    engine.core.add(request_)
    engine.run()
    assert engine.core.take_broken() == ["s"]
    assert engine.blocks.num_free_pages == engine.blocks.num_pages


def test_one_choice_is_aborted() -> None:
    engine = Engine(budget=5)
    request = scoring([1, 2, 3], [4, 5, 6])
    engine.core.add(request)
    engine.step()
    engine.core.abort("s", 0)
    engine.run()
    assert engine.output("s", 1) == [4, 5, 6]
    assert engine.output("s", 0) == []


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (scoring([1], []), "continuations[1]"),
        (scoring([1], [50]), "continuations[1]"),
        (scoring([-1]), "continuations[0]"),
        (scoring(), "n"),
        (scoring([1] * 248), None),
    ],
)
def test_refused(request_: GenerateRequest, param: str | None) -> None:
    engine = Engine()
    with pytest.raises(InvalidRequest) as caught:
        engine.core.add(request_)
    assert caught.value.param == param
