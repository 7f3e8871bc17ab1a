"""From scores to probabilities that mean what they say, as far as that was measured for a model.

A temperature divides the scores (Guo et al., "On Calibration of Modern Neural Networks", 2017); where there are two
options, of which the first is the one that is asked about, a bias is added to it (Platt's scaling, 1999).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Probabilities from low to high."""

    low: float
    high: float
    count: int
    predicted: float
    """Mean probability."""
    observed: float
    """Share of those that came true."""


class Reliability(msgspec.Struct, frozen=True, kw_only=True):
    accuracy: float
    brier: float
    """Mean squared distance of the probabilities from what was true, summed over the options: 0 to 2."""
    ece: float
    """Expected calibration error: how far probabilities are from what came true, in bins of equal width."""
    ece_low: float
    ece_high: float
    """Between these it is in 95 of 100 resamples of the groups."""
    bins: list[Bin] = []
    """Without empty ones; none in files of before they were kept."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Of one model's answers to one kind of question."""

    temperature: Annotated[float, Meta(gt=0)]
    """Divides the options' scores."""
    bias: float = 0.0
    """Added to the first option afterwards."""
    version: str = ""
    """Of the skill whose questions they were."""
    num_rows: int
    measured: int
    """Unix seconds."""
    raw: Reliability
    calibrated: Reliability
    """Of rows that what was fitted had not seen."""

    @property
    def helps(self) -> bool:
        """It lowers the calibration error of rows that it has not seen. Else it is told, and not applied."""
        return self.calibrated.ece < self.raw.ece


def calibrated(scores: Sequence[float], calibration: Calibration | None = None) -> list[float]:
    """Probabilities of the options, which sum to 1; without a calibration, softmax.

    scores: log-probabilities but for a constant. Where each of several labels fits or doesn't, each is a question of
    its own with two options: the log-odds of its fitting, and 0."""
    if calibration is None:
        return probabilities(scores)
    return probabilities(scores, calibration.temperature, calibration.bias)


def probabilities(scores: Sequence[float], temperature: float = 1.0, bias: float = 0.0) -> list[float]:
    """Of the options; they sum to 1."""
    scaled = [score / temperature for score in scores]
    scaled[0] += bias
    best = max(scaled)
    weights = [math.exp(score - best) for score in scaled]
    total = math.fsum(weights)
    return [weight / total for weight in weights]
