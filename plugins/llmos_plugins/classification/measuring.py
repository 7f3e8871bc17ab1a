"""From what a model says of rows with known labels to a calibration: fitted on some rows, measured on others."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llmos_plugins.classification.calibration import IDENTITY, SMALLEST, Calibration, Kind, to_odds, to_probabilities
from llmos_plugins.classification.fitting import fit_logistic, fit_slope
from llmos_plugins.classification.reliability import Reliability, brier_score, measure_reliability
from llmos_plugins.classification.rows import Row, labels_of, read_rows

Score = Callable[[Sequence[Row]], list[list[float]]]
"""Scores of each row's labels, in their order, up to a constant: logarithms of uncalibrated probabilities."""


def to_body(row: Row) -> dict[str, Any]:
    """Of a run that tells what is needed here. With one label the probabilities are softmax of the scores, so that
    they serve for rows with several, too."""
    return {"text": row.text, "labels": labels_of(row.task), "calibrated": False}


def to_scores(row: Row, probabilities: dict[str, float]) -> list[float]:
    return [math.log(max(probabilities[label["name"]], SMALLEST)) for label in labels_of(row.task)]


def calibrate(kind: Kind, score: Score, **of: str) -> Calibration:
    """of: model, model_digest, skill_version."""
    fit, held_out = (read_rows(split, multiple=kind == "multiple") for split in ("fit", "held_out"))
    fit_scores, scores = score(fit), score(held_out)
    if kind == "single":
        right = [_truth(row).index(True) for row in fit]
        slope, intercept = fit_slope(fit_scores, right), 0.0
    else:
        odds = [value for row in fit_scores for value in to_odds(row)]
        slope, intercept = fit_logistic(odds, [fits for row in fit for fits in _truth(row)])
    return Calibration(
        **of,
        kind=kind,
        slope=slope,
        intercept=intercept,
        num_fitted=len(fit),
        raw=measure(held_out, scores, kind, *IDENTITY),
        calibrated=measure(held_out, scores, kind, slope, intercept),
    )


def measure(
    rows: Sequence[Row], scores: Sequence[Sequence[float]], kind: Kind, slope: float, intercept: float
) -> Reliability:
    """single: the reliability of the most likely label's probability. multiple: of each label's."""
    found = [to_probabilities(row, kind, slope, intercept) for row in scores]
    truths = [_truth(row) for row in rows]
    if kind == "single":
        best = [max(range(len(row)), key=row.__getitem__) for row in found]
        pairs = [[(p[place], truth[place])] for p, truth, place in zip(found, truths, best, strict=True)]
        right = [row[0][1] for row in pairs]
    else:
        pairs = [list(zip(p, truth, strict=True)) for p, truth in zip(found, truths, strict=True)]
        right = [(p >= 0.5) == came_true for row in pairs for p, came_true in row]
    return measure_reliability(pairs, brier_score(found, truths), sum(right) / len(right))


def _truth(row: Row) -> list[bool]:
    return [label["name"] in row.expected for label in labels_of(row.task)]
