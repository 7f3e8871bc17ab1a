"""From what a model says of rows with known labels to a calibration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llmos_plugins.classification.calibration import IDENTITY, SMALLEST, Calibration, Kind, to_odds, to_probabilities
from llmos_plugins.classification.fitting import fit_logistic, fit_slope
from llmos_plugins.classification.reliability import Reliability, brier_score, measure_reliability
from llmos_plugins.classification.rows import NUM_FOLDS, Row, labels_of, read_rows

FOLDS = range(NUM_FOLDS)

Score = Callable[[Sequence[Row]], list[list[float]]]
"""Scores of each row's labels, in their order, up to a constant: logarithms of uncalibrated probabilities."""


def to_body(row: Row) -> dict[str, Any]:
    """Of a run that tells what is needed here. With one label the probabilities are softmax of the scores, so that
    they serve for rows with several, too."""
    return {"text": row.text, "labels": labels_of(row.task), "calibrated": False}


def to_scores(row: Row, probabilities: dict[str, float]) -> list[float]:
    return [math.log(max(probabilities[label["name"]], SMALLEST)) for label in labels_of(row.task)]


def calibrate(kind: Kind, score: Score, **of: str) -> Calibration:
    """of: model, model_digest, skill_version.

    slope and intercept are fitted on all rows; how well that does is measured on each fold by what was fitted on the
    others, whose templates are others."""
    rows = read_rows(multiple=kind == "multiple")
    scores = score(rows)
    fits = {fold: _fit(kind, [(r, s) for r, s in zip(rows, scores, strict=True) if r.fold != fold]) for fold in FOLDS}
    slope, intercept = _fit(kind, list(zip(rows, scores, strict=True)))
    return Calibration(
        **of,
        kind=kind,
        slope=slope,
        intercept=intercept,
        raw=_measure(rows, [to_probabilities(row, kind, *IDENTITY) for row in scores], kind),
        calibrated=_measure(
            rows, [to_probabilities(s, kind, *fits[row.fold]) for row, s in zip(rows, scores, strict=True)], kind
        ),
    )


def _fit(kind: Kind, rows: Sequence[tuple[Row, list[float]]]) -> tuple[float, float]:
    if kind == "single":
        return fit_slope([scores for _, scores in rows], [_truth(row).index(True) for row, _ in rows]), 0.0
    odds = [value for _, scores in rows for value in to_odds(scores)]
    return fit_logistic(odds, [fits for row, _ in rows for fits in _truth(row)])


def _measure(rows: Sequence[Row], found: Sequence[list[float]], kind: Kind) -> Reliability:
    """single: the reliability of the most likely label's probability. multiple: of each label's."""
    truths = [_truth(row) for row in rows]
    groups: dict[str, list[tuple[float, bool]]] = {}
    right: list[bool] = []
    for row, probabilities, truth in zip(rows, found, truths, strict=True):
        pairs = list(zip(probabilities, truth, strict=True))
        if kind == "single":
            pairs = [max(pairs)]
            right.append(pairs[0][1])
        else:
            right += [(p >= 0.5) == came_true for p, came_true in pairs]
        groups.setdefault(row.group, []).extend(pairs)
    return measure_reliability(
        list(groups.values()), num_rows=len(rows), brier=brier_score(found, truths), accuracy=sum(right) / len(right)
    )


def _truth(row: Row) -> list[bool]:
    return [label["name"] in row.expected for label in labels_of(row.task)]
