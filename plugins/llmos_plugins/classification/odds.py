"""From the scores of labels beside each other to their probabilities, calibrated where that was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmos_server import Calibration, calibrated

SMALLEST = 1e-12
"""Probabilities are bounded by it where logarithms are taken of them."""


def to_probabilities(scores: Sequence[float], calibration: Calibration | None, *, multiple: bool) -> list[float]:
    """They sum to 1. multiple: each by itself; 0.5, uncalibrated, is as likely as the others on average."""
    if not multiple:
        return calibrated(scores, calibration)
    return [calibrated([odds, 0.0], calibration)[0] for odds in to_odds(scores)]


def to_log_odds(chance: float) -> float:
    return math.log(max(chance, SMALLEST)) - math.log(max(1 - chance, SMALLEST))


def to_odds(scores: Sequence[float]) -> list[float]:
    """Each one's against the mean of the others, as logarithms. At least two."""
    logs = [math.log(max(p, SMALLEST)) for p in calibrated(scores)]
    rest = [math.log(max(1 - math.exp(log), SMALLEST) / (len(logs) - 1)) for log in logs]
    return [log - other for log, other in zip(logs, rest, strict=True)]
