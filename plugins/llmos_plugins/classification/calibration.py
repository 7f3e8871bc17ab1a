"""From scores to probabilities that mean what they say, as far as that was measured for a model.

One of several labels: softmax(slope * score), temperature scaling (Guo et al., 2017; slope is 1 / temperature). Any
number: logistic(slope * score + intercept), Platt scaling (Platt, 1999), where a label's score is its log-odds against
the mean of the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from llmos_plugins.classification.reliability import Reliability

MEASURED = Path(__file__).parent / "calibration" / "measured.json"
SMALLEST = 1e-12
"""Probabilities are bounded by it where logarithms are taken of them."""

Kind = Literal["single", "multiple"]


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Measured on rows that what was fitted had not seen."""

    model: str
    model_digest: str
    skill_version: str
    kind: Kind
    slope: float
    intercept: float = 0.0
    raw: Reliability
    calibrated: Reliability

    @property
    def helps(self) -> bool:
        """Else it is kept to be told, and not applied."""
        return self.calibrated.ece < self.raw.ece


IDENTITY = (1.0, 0.0)


def read_calibrations(paths: Sequence[Path]) -> list[Calibration]:
    """Raises ValueError that names the file."""
    found: list[Calibration] = []
    for path in paths:
        try:
            found += msgspec.json.decode(path.read_bytes(), type=list[Calibration])
        except OSError as error:
            raise ValueError(f"{path} can't be read ({error.strerror})") from None
        except msgspec.MsgspecError as error:
            raise ValueError(f"{path} is no file that `llmos calibrate-labels` writes: {error}") from None
    return found


def to_probabilities(scores: Sequence[float], kind: Kind, slope: float, intercept: float) -> list[float]:
    """single: they sum to 1. multiple: each by itself; 0.5, uncalibrated, is as likely as the others on average."""
    if kind == "single":
        return softmax([slope * score for score in scores])
    return [logistic(slope * odds + intercept) for odds in to_odds(scores)]


def to_odds(scores: Sequence[float]) -> list[float]:
    """Each one's against the mean of the others, as logarithms. At least two."""
    logs = [math.log(max(p, SMALLEST)) for p in softmax(scores)]
    rest = [math.log(max(1 - math.exp(log), SMALLEST) / (len(logs) - 1)) for log in logs]
    return [log - other for log, other in zip(logs, rest, strict=True)]


def softmax(scores: Sequence[float]) -> list[float]:
    best = max(scores)
    weights = [math.exp(score - best) for score in scores]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))
