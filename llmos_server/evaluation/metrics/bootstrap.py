"""How sure a figure is: percentile bootstrap of a mean, and of the difference of two runs over the same items."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

NUM_RESAMPLES = 2000
LEVEL = 0.95
_CHUNK = 4_000_000
"""Numbers drawn at a time: 32 MB."""


class Interval(msgspec.Struct, frozen=True):
    mean: float
    low: float
    high: float
    """Between low and high in 95 of 100 such samples."""


def interval_of_mean(values: Sequence[float], seed: int = 1) -> Interval:
    """values: one an item, at least one."""
    numbers = np.asarray(values, dtype=np.float64)
    low, high = np.quantile(_resampled_means(numbers, seed), ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(float(numbers.mean()), float(low), float(high))


def interval_of_difference(first: Sequence[float], second: Sequence[float], seed: int = 1) -> Interval:
    """Of second minus first. Paired: place i of both is the same item, so items are drawn, not answers, and what makes
    an item hard for both leaves the interval as narrow as it is (Koehn, 2004)."""
    pairs = zip(first, second, strict=True)
    return interval_of_mean([after - before for before, after in pairs], seed)


def _resampled_means(numbers: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    chance = np.random.default_rng(seed)
    size = len(numbers)
    rows = max(1, _CHUNK // size)
    means: list[npt.NDArray[np.float64]] = []
    for start in range(0, NUM_RESAMPLES, rows):
        drawn = chance.integers(0, size, (min(rows, NUM_RESAMPLES - start), size))
        means.append(numbers[drawn].mean(1))
    return np.concatenate(means)
