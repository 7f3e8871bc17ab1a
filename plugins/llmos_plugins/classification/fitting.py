"""Slope and intercept of a calibration, by maximum likelihood on rows with known labels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmos_plugins.classification.calibration import logistic, softmax

SLOPES = (1e-3, 1e3)
"""Where the best one is looked for."""


def fit_slope(scores: Sequence[Sequence[float]], right: Sequence[int]) -> float:
    """Of softmax(slope * score), where the right label of each row is at a place. Its likelihood has one peak, found
    by golden-section search over the slope's logarithm."""

    def loss(log_slope: float) -> float:
        slope = math.exp(log_slope)
        return -sum(
            math.log(max(softmax([slope * score for score in row])[place], 1e-300))
            for row, place in zip(scores, right, strict=True)
        )

    low, high = map(math.log, SLOPES)
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, middle = high - ratio * (high - low), low + ratio * (high - low)
        if loss(left) < loss(middle):
            high = middle
        else:
            low = left
    return math.exp((low + high) / 2)


def fit_logistic(odds: Sequence[float], fits: Sequence[bool]) -> tuple[float, float]:
    """(slope, intercept) of logistic(slope * odds + intercept), with Platt's targets, which keep both finite where
    rows can be told apart without an error. Newton's method, each step halved until the loss falls."""
    num_yes = sum(fits)
    yes, no = (num_yes + 1) / (num_yes + 2), 1 / (len(fits) - num_yes + 2)
    targets = [yes if fit else no for fit in fits]

    def loss(slope: float, intercept: float) -> float:
        total = 0.0
        for x, target in zip(odds, targets, strict=True):
            value = slope * x + intercept
            total += max(value, 0) + math.log1p(math.exp(-abs(value))) - target * value
        return total

    slope, intercept = 1.0, 0.0
    for _ in range(100):
        step = _newton(odds, targets, slope, intercept)
        size = 1.0
        while size > 1e-8 and loss(slope - size * step[0], intercept - size * step[1]) > loss(slope, intercept):
            size /= 2
        slope, intercept = slope - size * step[0], intercept - size * step[1]
        if abs(size * step[0]) + abs(size * step[1]) < 1e-9:
            break
    return slope, intercept


def _newton(odds: Sequence[float], targets: Sequence[float], slope: float, intercept: float) -> tuple[float, float]:
    g_slope = g_intercept = 0.0
    h_aa = h_bb = 1e-9
    h_ab = 0.0
    for x, target in zip(odds, targets, strict=True):
        p = logistic(slope * x + intercept)
        error, weight = p - target, p * (1 - p)
        g_slope += error * x
        g_intercept += error
        h_aa += weight * x * x
        h_ab += weight * x
        h_bb += weight
    determinant = h_aa * h_bb - h_ab * h_ab
    return (h_bb * g_slope - h_ab * g_intercept) / determinant, (h_aa * g_intercept - h_ab * g_slope) / determinant
