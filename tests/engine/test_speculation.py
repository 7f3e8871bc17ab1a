"""Guesses change how soon tokens come, and nothing else; they are computed where that pays."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from engine_fakes import BAD_GUESS, Engine, ScriptedProposer, expected_choice, make_request

from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.cost_model import NO_LIMIT, CostModel, StepBudget
from llmos_server.engine.ngram import NgramProposer
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.speculation import PROBE_STEPS, Speculation
from llmos_server.engine.step import Chunk, StepPlan


class Always:
    """Guesses the same, whatever came before."""

    is_free = True
    seconds = 0.0

    def seconds_per_guess(self, num_sequences: int) -> float:
        return 0.0

    def __init__(self, *guess: int) -> None:
        self._guess = list(guess)

    def propose(self, plan: StepPlan, wanted: Mapping[Sequence, int]) -> dict[Sequence, list[int]]:
        return {sequence: self._guess[:num_tokens] for sequence, num_tokens in wanted.items()}

    def forget(self, sequence: Sequence) -> None:
        pass


def test_right_guesses_save_steps() -> None:
    engines = [Engine(proposer=proposer) for proposer in (None, ScriptedProposer(errs=False))]
    request = make_request("a", [1, 2, 3], max_tokens=40)
    for engine in engines:
        engine.core.add(request)
        engine.run()
        assert engine.output("a") == expected_choice(request, 0).token_ids
    off, on = (engine.core.stats() for engine in engines)
    assert off.num_draft_tokens == 0
    assert on.num_steps == off.num_steps - on.num_accepted_tokens
    assert on.num_accepted_tokens == on.num_draft_tokens > 3 * on.num_drafts > 0


def test_pages_of_wrong_guesses_go_back_after_the_step() -> None:
    engine = Engine(page_size=2, proposer=Always(45, 45, 45, 45))
    engine.core.add(make_request("a", [1], max_tokens=12))
    num_drafts = 0
    while engine.core.has_work:
        engine.step()
        num_drafts += sum(len(chunk.draft_ids) for chunk in engine.runner.plans[-1].chunks)
        for sequence in engine.scheduler.running:
            assert len(sequence.pages) <= engine.blocks.num_pages_for(len(sequence.token_ids))
    assert num_drafts > 0
    assert engine.core.stats().num_accepted_tokens == 0


def test_a_guess_preempts_nobody() -> None:
    """The pool holds exactly both answers: guesses get what is left, and what others need is not taken."""
    engine = Engine(num_pages=10, page_size=2, proposer=ScriptedProposer(errs=False))
    for name in "ab":
        engine.core.add(make_request(name, [1, 2], max_tokens=8, seed=ord(name)))
    engine.run()
    assert engine.core.stats().num_preemptions == 0
    assert engine.core.stats().num_accepted_tokens > 0


def test_a_guess_that_spoils_its_step_costs_a_step_and_no_more_guesses_are_made() -> None:
    engine = Engine(proposer=Always(BAD_GUESS))
    request = make_request("a", [1, 2, 3], max_tokens=9, logprobs=0)
    engine.core.add(request)
    engine.run()
    assert engine.output("a") == expected_choice(request, 0).token_ids
    assert [len(chunk.draft_ids) for plan in engine.runner.plans for chunk in plan.chunks].count(1) == 1
    assert engine.core.take_broken() == []


def test_the_proposer_forgets_what_ends_or_is_aborted() -> None:
    proposer = ScriptedProposer()
    engine = Engine(proposer=proposer)
    engine.core.add(make_request("a", [1], max_tokens=20))
    engine.core.add(make_request("b", [2], max_tokens=5))
    engine.step()
    engine.step()
    assert len(proposer.known) == 2
    engine.core.abort("a")
    engine.run()
    assert not proposer.known


def decode(num_output_tokens: int = 1, max_tokens: int = 100) -> Chunk:
    request = make_request("a", [1, 2], max_tokens=max_tokens)
    sequence = Sequence(request, 0, 0.0, [1, 2, *[3] * num_output_tokens], pages=[0])
    sequence.num_computed_tokens = len(sequence.token_ids) - 1
    return Chunk(sequence, sequence.num_computed_tokens, 1, [sequence])


def costs(*, fixed: float, per_token: float) -> CostModel:
    model = CostModel()
    for num_chunks, num_tokens in ((1, 1), (1, 90), (16, 1), (4, 20)) * 20:
        plan = StepPlan([Chunk(decode().sequence, 0, num_tokens)] * num_chunks)
        model.observe(plan, fixed + per_token * plan.num_tokens)
    return model


def guesses(speculation: Speculation, chunks: list[Chunk], num_tokens: int = 512) -> list[int]:
    plan = StepPlan(chunks)
    speculation.extend(plan, speculation.reserve(plan, StepBudget(CostModel(), num_tokens, NO_LIMIT)))
    return [len(chunk.draft_ids) for chunk in chunks]


def speculation(model: CostModel, max_tokens: int = 8) -> Speculation:
    return Speculation(Always(*[3] * 8), BlockManager(16, 64, model_digest=""), model, max_tokens)


def test_guesses_are_bounded_by_the_answer_and_the_step() -> None:
    assert guesses(speculation(CostModel(), 2), [decode()]) == [2]
    assert guesses(speculation(CostModel(), 2), [decode(max_tokens=3)]) == [1]
    assert guesses(speculation(CostModel(), 2), [decode(max_tokens=2)]) == [0]
    assert guesses(speculation(CostModel(), 2), [decode(), decode()], num_tokens=3) == [2, 1]


def test_only_decodes_of_one_choice_are_guessed_for() -> None:
    first = Chunk(decode(0).sequence, 0, 2, [decode(0).sequence])
    several = decode()
    several.sample_for.append(decode().sequence)
    inside = decode()
    inside.sample_for.clear()
    assert guesses(speculation(CostModel()), [first, several, inside]) == [0, 0, 0]


def test_the_more_often_guesses_are_right_the_more_are_computed() -> None:
    subject = speculation(costs(fixed=0.01, per_token=0.001))
    chunk = decode()
    (before,) = guesses(subject, [chunk])
    for _ in range(10):
        subject.settle(chunk, [3] * 9, 8)
        (after,) = guesses(subject, [chunk := Chunk(chunk.sequence, chunk.start, 1, [chunk.sequence])])
    assert 0 < before < after == 8
    for _ in range(20):
        subject.settle(chunk, [4], 0)
        (after,) = guesses(subject, [chunk := Chunk(chunk.sequence, chunk.start, 1, [chunk.sequence])])
    assert after == 0


def test_guesses_that_were_not_computed_are_judged_as_well() -> None:
    """So a sequence that begins to repeat itself is noticed although nothing is computed for it."""
    subject = speculation(costs(fixed=0.001, per_token=0.001))
    chunk = decode()
    assert guesses(subject, [chunk]) == [0]
    for _ in range(30):
        subject.settle(chunk, [3], 0)
        chunk = Chunk(chunk.sequence, chunk.start, 1, [chunk.sequence])
        guesses(subject, [chunk])
    assert len(chunk.draft_ids) > 0


@pytest.mark.parametrize(("num_decodes", "pays"), [(1, True), (16, False)])
def test_guesses_are_computed_where_they_pay(num_decodes: int, pays: bool) -> None:
    """A batch of many does as much with each millisecond as a guess would."""
    subject = speculation(costs(fixed=0.006, per_token=0.001))
    given = [guesses(subject, [decode() for _ in range(num_decodes)]) for _ in range(PROBE_STEPS - 1)]
    assert all((sum(step) > 0) == pays for step in given)
    assert sum(guesses(subject, [decode() for _ in range(num_decodes)])) > 0, "the probe"


def test_look_up_in_a_repeated_text() -> None:
    """A scripted model with few states repeats itself; the steps that are saved show that it is seen."""
    engine = Engine(num_pages=200, proposer=NgramProposer())
    request = make_request("a", [5, 6, 7, 8] * 20, max_tokens=60)
    engine.core.add(request)
    engine.run()
    assert engine.output("a") == expected_choice(request, 0).token_ids
