"""Greedy tokens equal Transformers', and log-probabilities are bitwise the same, however the work was cut."""

from __future__ import annotations

from typing import Any

import pytest

from llmos_server.engine.step import Chunk, StepPlan

NUM_TOKENS = 12


def prompt(length: int, salt: int = 0) -> list[int]:
    return [(i * i * 7 + i * 13 + salt * 31) % 97 for i in range(length)]


LONG, MIDDLE, SHORT = prompt(150), prompt(41, 1), prompt(1, 2)


@pytest.fixture
def driver(any_checkpoint: Any) -> Any:
    return any_checkpoint.load()


@pytest.fixture
def alone(any_checkpoint: Any, driver: Any) -> Any:
    """prompt -> tokens and log-probabilities when nothing else runs and the prompt is one chunk."""

    def run(ids: list[int]) -> Any:
        sequence = driver.sequence(ids, NUM_TOKENS)
        (tokens,) = driver.generate(sequence, num_tokens=NUM_TOKENS)
        assert tokens == any_checkpoint.generate(ids, NUM_TOKENS)
        return tokens, driver.logprobs[sequence]

    return run


def test_alone_and_batched_at_different_lengths(driver: Any, alone: Any) -> None:
    prompts = (LONG, MIDDLE, SHORT)
    expected = [alone(ids) for ids in prompts]
    sequences = [driver.sequence(ids, NUM_TOKENS) for ids in prompts]
    tokens = driver.generate(*sequences, num_tokens=NUM_TOKENS)
    assert [(out, driver.logprobs[seq]) for out, seq in zip(tokens, sequences, strict=True)] == expected


@pytest.mark.parametrize("max_tokens", [1, 7, 33])
def test_prefill_in_chunks_beside_a_decode(driver: Any, alone: Any, max_tokens: int) -> None:
    ids = LONG if max_tokens > 1 else MIDDLE
    expected = alone(ids)
    other, sequence = driver.sequence(SHORT, 200), driver.sequence(ids, NUM_TOKENS)
    while sequence.num_output_tokens < NUM_TOKENS:
        driver.advance(other, sequence, max_tokens=max_tokens)
    assert (sequence.output_ids, driver.logprobs[sequence]) == expected


def test_prefix_hit(driver: Any, alone: Any) -> None:
    expected = alone(LONG)
    first = driver.sequence(LONG, NUM_TOKENS)
    driver.advance(first)
    second = driver.sequence(LONG, NUM_TOKENS)
    shared = 9
    second.pages = first.pages[:shared] + second.pages[shared:]
    second.num_computed_tokens = shared * driver.info.page_size
    driver.generate(first, second, num_tokens=NUM_TOKENS)
    assert (second.output_ids, driver.logprobs[second]) == expected
    assert (first.output_ids, driver.logprobs[first]) == expected


def test_preemption_by_recompute(driver: Any, alone: Any) -> None:
    expected = alone(MIDDLE)
    sequence = driver.sequence(MIDDLE, NUM_TOKENS)
    driver.generate(sequence, num_tokens=5)
    sequence.pages, sequence.num_computed_tokens = driver.take_pages(len(MIDDLE) + NUM_TOKENS), 0
    driver.generate(sequence, num_tokens=NUM_TOKENS)
    assert (sequence.output_ids, driver.logprobs[sequence]) == expected


def test_n_choices_share_the_prompt(driver: Any, alone: Any) -> None:
    expected = alone(MIDDLE)
    choices = [driver.sequence(MIDDLE, NUM_TOKENS, index=index) for index in range(3)]
    first, *others = choices
    driver.run(StepPlan([Chunk(first, 0, len(MIDDLE), choices)]))
    full = len(MIDDLE) // driver.info.page_size
    for other in others:
        other.pages = first.pages[:full] + other.pages[full:]
        other.num_computed_tokens = len(MIDDLE)
    copies = [(first.pages[full], other.pages[full]) for other in others]
    driver.run(StepPlan([Chunk(choice, len(MIDDLE), 1, [choice]) for choice in choices], copies))
    driver.generate(*choices, num_tokens=NUM_TOKENS)
    assert [(choice.output_ids, driver.logprobs[choice]) for choice in choices] == [expected] * 3
