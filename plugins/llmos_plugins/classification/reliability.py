"""How well probabilities agree with what came true: bins, Brier score, expected calibration error."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

NUM_BINS = 10
NUM_RESAMPLES = 1000


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions from low to high."""

    low: float
    high: float
    count: int
    predicted: float
    """Mean probability."""
    observed: float
    """Share of those that came true."""


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    num_rows: int
    accuracy: float
    brier: float
    ece: float
    ece_interval: tuple[float, float]
    """95 %, by the percentiles of a bootstrap over groups of predictions."""
    bins: list[Bin]
    """Without empty ones."""


Prediction = tuple[float, bool]
"""A probability, and whether what it was of came true."""


def measure_reliability(
    groups: Sequence[Sequence[Prediction]], *, num_rows: int, brier: float, accuracy: float
) -> Reliability:
    """groups: predictions that hang together (about one text, or texts of one template): the bootstrap draws whole
    ones, else the interval would be too narrow."""
    chance = random.Random(0)
    resampled = sorted(
        _ece([pair for group in chance.choices(groups, k=len(groups)) for pair in group]) for _ in range(NUM_RESAMPLES)
    )
    low, high = (resampled[int(share * (NUM_RESAMPLES - 1))] for share in (0.025, 0.975))
    pairs = [pair for group in groups for pair in group]
    return Reliability(
        num_rows=num_rows, accuracy=accuracy, brier=brier, ece=_ece(pairs), ece_interval=(low, high), bins=_bins(pairs)
    )


def brier_score(probabilities: Sequence[Sequence[float]], truths: Sequence[Sequence[bool]]) -> float:
    """The mean over rows of the sum over labels of squared differences: 0 is perfect, 2 the worst for one label."""
    total = sum(
        (p - came_true) ** 2
        for row, truth in zip(probabilities, truths, strict=True)
        for p, came_true in zip(row, truth, strict=True)
    )
    return total / len(probabilities)


def _bins(pairs: Sequence[Prediction]) -> list[Bin]:
    """Of equal width."""
    filled: list[list[Prediction]] = [[] for _ in range(NUM_BINS)]
    for pair in pairs:
        filled[min(int(pair[0] * NUM_BINS), NUM_BINS - 1)].append(pair)
    return [
        Bin(
            low=place / NUM_BINS,
            high=(place + 1) / NUM_BINS,
            count=len(found),
            predicted=sum(p for p, _ in found) / len(found),
            observed=sum(came_true for _, came_true in found) / len(found),
        )
        for place, found in enumerate(filled)
        if found
    ]


def _ece(pairs: Sequence[Prediction]) -> float:
    return sum(entry.count * abs(entry.predicted - entry.observed) for entry in _bins(pairs)) / len(pairs)
