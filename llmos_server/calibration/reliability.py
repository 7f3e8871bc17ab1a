"""How well probabilities agree with what came true: accuracy, Brier score, calibration error, bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmos_server.calibration.calibration import Bin, Reliability

NUM_BINS = 10
NUM_RESAMPLES = 1000


class Judged(NamedTuple):
    probabilities: list[float]
    truth: int
    """Place of the right option."""
    group: str
    """Those of one group hang together (about one text, or texts of one template): resamples draw whole groups, else
    the interval would be too narrow."""


def measure(judged: Sequence[Judged], *, of_first: bool) -> Reliability:
    """of_first: of the first option's probability; else of the likeliest one's."""
    pairs = [_pair(each, of_first) for each in judged]
    places = {group: place for place, group in enumerate(dict.fromkeys(each.group for each in judged))}
    sums = np.zeros((len(places), NUM_BINS, 3))  # Of each group and bin: how many, their probabilities, how many true.
    for each, (probability, came_true) in zip(judged, pairs, strict=True):
        sums[places[each.group], min(int(probability * NUM_BINS), NUM_BINS - 1)] += (1, probability, came_true)
    low, high = _interval(sums)
    return Reliability(
        accuracy=sum(_likeliest(each) == each.truth for each in judged) / len(judged),
        brier=math.fsum(map(_distance, judged)) / len(judged),
        ece=float(_ece(sums.sum(0))),
        ece_low=low,
        ece_high=high,
        bins=_bins(sums.sum(0)),
    )


def _pair(judged: Judged, of_first: bool) -> tuple[float, bool]:
    place = 0 if of_first else _likeliest(judged)
    return judged.probabilities[place], judged.truth == place


def _likeliest(judged: Judged) -> int:
    return max(range(len(judged.probabilities)), key=judged.probabilities.__getitem__)


def _distance(judged: Judged) -> float:
    return math.fsum((p - (place == judged.truth)) ** 2 for place, p in enumerate(judged.probabilities))


def _interval(sums: npt.NDArray[np.float64]) -> tuple[float, float]:
    """By the percentiles of a bootstrap."""
    chance = np.random.default_rng(1)
    num_groups = len(sums)
    times = chance.multinomial(num_groups, np.full(num_groups, 1 / num_groups), NUM_RESAMPLES)
    low, high = np.quantile(_ece(np.einsum("rg,gbs->rbs", times, sums)), (0.025, 0.975))
    return float(low), float(high)


def _ece(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """sums: [..., bins, 3]."""
    found: npt.NDArray[np.float64] = np.abs(sums[..., 1] - sums[..., 2]).sum(-1) / sums[..., 0].sum(-1)
    return found


def _bins(sums: npt.NDArray[np.float64]) -> list[Bin]:
    return [
        Bin(
            low=place / NUM_BINS,
            high=(place + 1) / NUM_BINS,
            count=int(count),
            predicted=predicted / count,
            observed=observed / count,
        )
        for place, (count, predicted, observed) in enumerate(sums.tolist())
        if count
    ]
