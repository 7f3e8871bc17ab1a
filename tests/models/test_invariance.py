"""Hidden states and log-probabilities are bitwise the same alone, batched, cut otherwise and at any page size."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from llmos_server.engine.step import Chunk, StepPlan

NAMES = ("llama", "llama-biases", "mistral-window", "qwen3")


def prompt(length: int, salt: int) -> list[int]:
    return [random.Random(f"{salt} {i}").randrange(97) for i in range(length)]


def whole(driver: Any, ids: list[int]) -> torch.Tensor:
    """Hidden states of a prompt that runs alone, in one chunk."""
    hidden = driver.runner.forward(StepPlan([Chunk(driver.sequence(ids, 0), 0, len(ids))]))
    return hidden[: len(ids)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_any_cut_of_any_batch(checkpoint: Callable[[str], Any], name: str, seed: int) -> None:
    driver = checkpoint(name).load()
    choose = random.Random(seed)
    prompts = [prompt(choose.choice((1, 2, 5, 40, 129, 300)), salt) for salt in range(choose.randint(1, 6))]
    expected = [whole(driver, ids) for ids in prompts]
    for rows, others in zip(driver.hidden_in_any_cut(prompts, choose, 100), expected, strict=True):
        assert torch.equal(rows, others)


@pytest.mark.parametrize("page_size", [1, 7, 200])
def test_page_sizes(checkpoint: Callable[[str], Any], page_size: int) -> None:
    tiny, ids = checkpoint("mistral-window"), prompt(150, 0)
    driver = tiny.load(page_size=page_size)
    sequence = driver.sequence(ids, 8)
    assert driver.generate(sequence, num_tokens=8, max_tokens=60) == [tiny.generate(ids, 8)]


def test_prompt_logprobs_in_one_chunk_and_in_many(checkpoint: Callable[[str], Any]) -> None:
    tiny, ids = checkpoint("qwen2-tied"), prompt(150, 1)
    driver = tiny.load()
    runs = []
    for size in (150, 37):
        sequence = driver.sequence(ids, 0, prompt_logprobs=3)
        entries = []
        for start in range(0, len(ids), size):
            chunk = Chunk(sequence, start, min(size, len(ids) - start), [], wants_prompt_logprobs=True)
            entries += driver.run(StepPlan([chunk])).prompt_logprobs[0]
        runs.append(entries)
    assert runs[0] == runs[1]
    with torch.no_grad():
        logprobs = tiny.reference(torch.tensor([ids])).logits[0].log_softmax(-1)
    assert [entry.token_id for entry in runs[0]] == ids[1:]
    for row, entry in enumerate(runs[0]):
        assert entry.logprob == pytest.approx(float(logprobs[row, entry.token_id]), abs=1e-4)
        assert [token for token, _ in entry.top] == logprobs[row].topk(3).indices.tolist()


def test_prompt_logprobs_and_a_draw_from_the_same_chunk(checkpoint: Callable[[str], Any]) -> None:
    driver = checkpoint("llama").load()
    ids = prompt(20, 2)
    other, sequence = driver.sequence(prompt(3, 3), 1), driver.sequence(ids, 1, prompt_logprobs=0)
    chunks = [Chunk(other, 0, 3, [other]), Chunk(sequence, 0, 20, [sequence], wants_prompt_logprobs=True)]
    result = driver.run(StepPlan(chunks))
    assert [entry.token_id for entry in result.prompt_logprobs[1]] == ids[1:]
    assert [sampled.sequence for sampled in result.sampled] == [other, sequence]


def test_a_step_without_chunks_copies_pages(checkpoint: Callable[[str], Any]) -> None:
    driver = checkpoint("llama").load()
    ids = prompt(20, 4)
    first, second = driver.sequence(ids, 1), driver.sequence(ids, 1)
    driver.advance(first)
    result = driver.run(StepPlan([], list(zip(first.pages, second.pages, strict=True))))
    assert result.sampled == []
    second.num_computed_tokens = 19
    driver.advance(second)
    assert second.output_ids == first.output_ids
    assert driver.logprobs[second] == driver.logprobs[first]
