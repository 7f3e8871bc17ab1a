"""Grammars in the engine: what they do to tokens and ends, whatever else goes on; and who waits for whom."""

from __future__ import annotations

import pytest
from engine_fakes import Engine, ScriptedProposer, expected_choice, make_request

from llmos_server.engine.core import EngineCore
from llmos_server.errors import InvalidRequest


def test_a_complete_grammar_ends_the_choice_in_the_same_step() -> None:
    engine = Engine()
    engine.core.add(make_request("a", [1, 2, 3], max_tokens=40, grammar="3,6"))
    engine.run()
    assert [token % 3 for token in engine.output("a")] == [0, 1, 2] * 2
    last = engine.deltas["a", 0][-1]
    assert (last.finish_reason, last.stop_token_id) == ("stop", None)
    assert len(engine.runner.plans) == 6


def test_complete_with_the_last_token_that_is_allowed_is_a_stop() -> None:
    engine = Engine()
    engine.core.add(make_request("a", [1], max_tokens=6, grammar="3,6"))
    engine.core.add(make_request("b", [1], max_tokens=5, grammar="3,6"))
    engine.run()
    assert engine.deltas["a", 0][-1].finish_reason == "stop"
    assert engine.deltas["b", 0][-1].finish_reason == "length"


def test_stop_tokens_end_it_where_it_may_end_only_and_min_tokens_gives_way() -> None:
    engine = Engine()
    request = make_request(
        "a", [4], max_tokens=40, grammar="3,99", stop_token_ids=tuple(range(0, 50, 4)), min_tokens=20
    )
    engine.core.add(request)
    engine.run()
    last = engine.deltas["a", 0][-1]
    assert last.finish_reason == "stop"
    assert last.stop_token_id is not None
    assert engine.output("a") == expected_choice(request, 0).token_ids


@pytest.mark.parametrize("num_pages", [64, 9])
def test_choices_preemptions_and_guesses_change_nothing(num_pages: int) -> None:
    """9 pages are too few for all."""
    for proposer in (None, ScriptedProposer(errs=False), ScriptedProposer()):
        engine = Engine(num_pages=num_pages, page_size=2, proposer=proposer)
        requests = [
            make_request("a", [1, 2], max_tokens=12, n=2, grammar="3,99"),
            make_request("b", [3], max_tokens=12, grammar="2,8", stop_token_ids=(7, 20)),
            make_request("c", [4], max_tokens=9),
        ]
        for request in requests:
            engine.core.add(request)
        engine.run()
        assert num_pages == 64 or engine.core.stats().num_preemptions > 0
        for request in requests:
            for index in range(request.n):
                expected = expected_choice(request, index)
                assert engine.output(request.request_id, index) == expected.token_ids
                assert engine.deltas[request.request_id, index][-1].finish_reason == expected.finish_reason


@pytest.mark.parametrize("proposer", [None, ScriptedProposer(errs=False)])
def test_a_grammar_that_fails_ends_its_request_alone(proposer: ScriptedProposer | None) -> None:
    engine = Engine(proposer=proposer)
    engine.core.add(make_request("a", [1], max_tokens=20, n=2, grammar="fail,5"))
    engine.core.add(other := make_request("b", [1], max_tokens=20))
    broken: list[str] = []
    failed: dict[str, InvalidRequest] = {}
    while engine.core.has_work:
        engine.step()
        broken += engine.core.take_broken()
        failed |= engine.core.take_failed()
    assert failed["a"].code == "invalid_grammar"
    assert "scripted failure" in str(failed["a"])
    assert set(broken) <= {"a"}  # A second report of what has ended finds nobody.
    assert len(engine.output("a")) == len(engine.output("a", 1)) == 5
    assert engine.output("b") == expected_choice(other, 0).token_ids
    assert engine.blocks.num_free_pages == engine.blocks.num_pages


def test_nobody_waits_for_a_grammar_that_takes_long() -> None:
    engine = Engine()
    engine.core.add(make_request("slow", [1], max_tokens=6, grammar="slow:3,6"))
    engine.core.add(make_request("quick", [1], max_tokens=6))
    assert engine.core.stats().num_waiting == 2
    while ("quick", 0) not in engine.deltas or engine.deltas["quick", 0][-1].finish_reason is None:
        engine.step()
    assert ("slow", 0) not in engine.deltas
    assert engine.core.has_work
    with pytest.raises(InvalidRequest, match="take a new id"):
        engine.core.add(make_request("slow", [1]))
    engine.compiler.gate.set()
    engine.run()
    assert len(engine.output("slow")) == 6
    engine.core.add(make_request("again", [1], max_tokens=6, grammar="slow:3,6"))
    engine.step()
    assert len(engine.output("again")) == 1, "it is known now: no waiting"
    assert engine.core.stats().num_grammars == 1


def test_a_request_that_leaves_while_its_grammar_is_compiled_is_gone() -> None:
    engine = Engine()
    engine.core.add(make_request("a", [1], grammar="slow:3,6"))
    engine.core.abort("a")
    assert not engine.core.has_work
    engine.compiler.gate.set()
    engine.step()
    assert engine.deltas == {}


def test_a_grammar_that_cannot_be_compiled_is_told() -> None:
    engine = Engine()
    engine.core.add(make_request("a", [1], grammar="bad"))
    engine.run()
    failed = engine.core.take_failed()
    assert [str(error) for error in failed.values()] == ["Not a grammar."]
    assert failed["a"].code == "invalid_grammar"


def test_an_engine_without_a_compiler_refuses() -> None:
    engine = Engine()
    core = EngineCore(engine.scheduler, engine.runner, engine.core._info)
    with pytest.raises(InvalidRequest, match="follows no grammars"):
        core.add(make_request("a", [1], grammar="3,6"))
