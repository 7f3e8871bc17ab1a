"""The same seed gives the same text alone, in any batch and after a preemption."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

NUM_TOKENS = 20
OPTIONS = {
    "plain": {"temperature": 1.0},
    "nucleus": {"temperature": 0.8, "top_p": 0.9},
    "everything": {
        "temperature": 1.3,
        "top_k": 20,
        "top_p": 0.95,
        "min_p": 0.02,
        "repetition_penalty": 1.2,
        "presence_penalty": 0.3,
        "frequency_penalty": 0.2,
        "logit_bias": {5: 2.0},
    },
}


def prompt(length: int) -> list[int]:
    return [(i * 11 + 3) % 97 for i in range(length)]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_same_seed_same_text(checkpoint: Callable[[str], Any], options: dict[str, Any]) -> None:
    driver = checkpoint("llama").load()
    alone = driver.sequence(prompt(30), NUM_TOKENS, seed=-7, **options)
    (expected,) = driver.generate(alone, num_tokens=NUM_TOKENS)

    others = [driver.sequence(prompt(n), NUM_TOKENS, seed=n, **options) for n in (2, 60)]
    batched = driver.sequence(prompt(30), NUM_TOKENS, seed=-7, **options)
    assert driver.generate(others[0], batched, others[1], num_tokens=NUM_TOKENS, max_tokens=9)[1] == expected
    assert driver.logprobs[batched] == driver.logprobs[alone]

    preempted = driver.sequence(prompt(30), NUM_TOKENS, seed=-7, **options)
    driver.generate(preempted, num_tokens=8)
    preempted.pages, preempted.num_computed_tokens = driver.take_pages(30 + NUM_TOKENS), 0
    assert driver.generate(preempted, num_tokens=NUM_TOKENS) == [expected]

    second = driver.sequence(prompt(30), NUM_TOKENS, index=1, seed=-7, **options)
    assert driver.generate(second, num_tokens=NUM_TOKENS) != [expected]
