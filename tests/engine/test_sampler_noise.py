"""The noise is a fixed function: what a seed promises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmos_server.engine.noise import uniform

SEEDS = st.integers(-(2**63), 2**64 - 1)
COUNTS = st.integers(0, 2**40)
RECORDED = {
    (0, 0, 0): 0.1657297757612748,
    (1, 0, 0): 0.22437956313766083,
    (0, 1, 0): 0.23198565599025112,
    (0, 0, 1): 0.5104046317528179,
    (-1, 3, 77): 0.3095885307336099,
}


@given(SEEDS, COUNTS, COUNTS)
def test_in_range_and_repeatable(seed: int, choice: int, position: int) -> None:
    number = uniform(seed, choice, position)
    assert 0 <= number < 1
    assert number == uniform(seed, choice, position)
    assert number * 2**52 == int(number * 2**52)


def test_the_function_never_changes() -> None:
    assert {key: uniform(*key) for key in RECORDED} == RECORDED


def test_every_argument_counts_and_negative_seeds_wrap() -> None:
    keys = [(seed, choice, position) for seed in range(9) for choice in range(9) for position in range(9)]
    assert len({uniform(*key) for key in keys}) == len(keys)
    assert uniform(-1, 0, 0) == uniform(2**64 - 1, 0, 0)


def test_it_looks_uniform() -> None:
    numbers = [uniform(7, 0, position) for position in range(4096)]
    tenths = [sum(number // 0.125 == part for number in numbers) for part in range(8)]
    assert all(abs(count - 512) < 90 for count in tenths)
