"""Temperature and bias of a calibration, by maximum likelihood on rows of which the right option is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmos_server.calibration.calibration import Calibration, probabilities
from llmos_server.calibration.reliability import Judged, measure

NUM_FOLDS = 4
LOG_SLOPES = (-4.0, 4.0)
"""Where the slope, 1 / temperature, is looked for: a model that ranks options the wrong way has the least of them."""
GOLDEN = (math.sqrt(5) - 1) / 2

Floats = npt.NDArray[np.float64]


class Row(NamedTuple):
    scores: list[float]
    """Of the options: log-probabilities but for a constant. With a bias, two: of what is asked about, and of not."""
    truth: int
    """Place of the right one."""
    group: str
    """Rows of one group hang together: see Judged."""
    fold: int
    """Rows of one fold are judged by what was fitted on all others."""


def calibrate(rows: Sequence[Row], *, has_bias: bool, num_rows: int, measured: int, version: str = "") -> Calibration:
    """What is kept is fitted on all rows; how well that does is told of each fold by what was fitted on the others.
    num_rows: to be told; a text with several labels is a row for each. Raises ValueError for one fold alone."""
    folds = sorted({row.fold for row in rows})
    if len(folds) < 2:
        raise ValueError("all rows are in one fold, so none are left to judge by what was fitted on others")
    fits = {fold: fit([row for row in rows if row.fold != fold], has_bias=has_bias) for fold in folds}
    temperature, bias = fit(rows, has_bias=has_bias)
    seen = [Judged(probabilities(row.scores, *fits[row.fold]), row.truth, row.group) for row in rows]
    return Calibration(
        temperature=temperature,
        bias=bias,
        version=version,
        num_rows=num_rows,
        measured=measured,
        raw=measure([Judged(probabilities(row.scores), row.truth, row.group) for row in rows], of_first=has_bias),
        calibrated=measure(seen, of_first=has_bias),
    )


def fit(rows: Sequence[Row], *, has_bias: bool) -> tuple[float, float]:
    """(temperature, bias)."""
    if has_bias:
        odds = np.array([row.scores[0] - row.scores[1] for row in rows])
        slope, bias = _fit_logistic(odds, np.array([row.truth == 0 for row in rows]))
        return 1 / slope, bias

    def loss(log_slope: float) -> float:
        temperature = math.exp(-log_slope)
        found = (probabilities(row.scores, temperature)[row.truth] for row in rows)
        return -math.fsum(math.log(max(probability, 1e-300)) for probability in found)

    return math.exp(-_least(loss, *LOG_SLOPES)), 0.0


def _fit_logistic(odds: Floats, is_true: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """(slope, bias) of logistic(slope * odds + bias), with Platt's targets, which keep both finite where rows can be
    told apart without an error. Newton's method, each step halved until the loss falls."""
    num_true = int(is_true.sum())
    targets = np.where(is_true, (num_true + 1) / (num_true + 2), 1 / (len(odds) - num_true + 2))
    inputs = np.stack([odds, np.ones_like(odds)])

    def loss(found: Floats) -> float:
        values = found @ inputs
        return float((np.logaddexp(0, values) - targets * values).sum())

    found = np.array([1.0, 0.0])
    for _ in range(100):
        chances = 0.5 * (1 + np.tanh(found @ inputs / 2))
        hessian = (inputs * (chances * (1 - chances))) @ inputs.T + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, inputs @ (chances - targets))
        while np.abs(step).sum() > 1e-9 and loss(found - step) > loss(found):
            step /= 2
        found = found - step
        if np.abs(step).sum() < 1e-9:
            break
    lowest, highest = (math.exp(value) for value in LOG_SLOPES)
    slope = min(max(float(found[0]), lowest), highest)
    if slope == found[0]:
        return slope, float(found[1])
    return slope, _least(lambda bias: loss(np.array([slope, bias])), -30, 30)


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum has it, to a ten-thousandth."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > 1e-4:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2
