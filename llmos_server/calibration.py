"""Calibration of typed decisions: a temperature, and for noul a bias, fitted on labelled rows, kept in one JSON file.

Temperature scaling: Guo et al., "On Calibration of Modern Neural Networks", 2017; with a bias it is Platt's scaling.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta

CALIBRATIONS = "calibrations.json"
"""In LLMOS_HOME."""
MIN_ROWS = 500
"""Fewer say too little."""
NUM_BINS = 15
NUM_RESAMPLES = 200
GOLDEN = (math.sqrt(5) - 1) / 2

Task = Literal["choice", "score", "noul"]


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    accuracy: float
    brier: float
    """Mean squared distance of the probabilities from what was true, summed over the options."""
    ece: float
    """Expected calibration error: how far confidence is from accuracy, in 15 bins of equal width."""
    ece_low: float
    ece_high: float
    """Between these it is in 95 of 100 resamples of the rows."""


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Of one model's answers to one type of question."""

    temperature: Annotated[float, Meta(gt=0)]
    """Divides the options' log-probabilities."""
    bias: float = 0.0
    """Added to the first option afterwards: noul's true."""
    num_rows: int
    measured: int
    """Unix seconds."""
    raw: Quality
    calibrated: Quality
    """Each half of the rows by what was fitted on the other."""


Table = dict[str, dict[Task, Calibration]]
"""By the model's digest."""


class Row(NamedTuple):
    scores: list[float]
    """Of the options: log-probabilities but for a constant. noul: of true, of false."""
    truth: int
    """Place of the right one."""


class CalibrationFile:
    """Read again whenever it has changed. path: None for none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._table: Table = {}

    def find(self, model_digest: str, task: Task) -> Calibration | None:
        """Raises ValueError for a file that can't be read."""
        return self.table().get(model_digest, {}).get(task)

    def table(self) -> Table:
        if self._path is None:
            return {}
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._stamp, self._table = None, {}
            return {}
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            try:
                self._table = msgspec.json.decode(self._path.read_bytes(), type=Table)
            except msgspec.MsgspecError as error:
                raise ValueError(f"{self._path}: {error}") from None
            self._stamp = stamp
        return self._table


def probabilities(scores: Sequence[float], temperature: float = 1.0, bias: float = 0.0) -> list[float]:
    """Of the options; they sum to 1."""
    scaled = [score / temperature for score in scores]
    scaled[0] += bias
    best = max(scaled)
    weights = [math.exp(score - best) for score in scaled]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def calibrate(rows: Sequence[Row], *, has_bias: bool, measured: int) -> Calibration:
    """has_bias: for noul. The quality told is that of rows which what was fitted has not seen."""
    halves = rows[::2], rows[1::2]
    seen: list[tuple[list[float], int]] = []
    for fitted, judged in (halves, halves[::-1]):
        temperature, bias = fit(fitted, has_bias=has_bias)
        seen += [(probabilities(row.scores, temperature, bias), row.truth) for row in judged]
    temperature, bias = fit(rows, has_bias=has_bias)
    return Calibration(
        temperature=temperature,
        bias=bias,
        num_rows=len(rows),
        measured=measured,
        raw=quality([(probabilities(row.scores), row.truth) for row in rows]),
        calibrated=quality(seen),
    )


def fit(rows: Sequence[Row], *, has_bias: bool) -> tuple[float, float]:
    """(temperature, bias) of the least negative log-likelihood; each in turn, by golden sections."""

    def loss(temperature: float, bias: float) -> float:
        found = (probabilities(row.scores, temperature, bias)[row.truth] for row in rows)
        return -math.fsum(math.log(max(probability, 1e-300)) for probability in found)

    log_temperature = bias = 0.0
    for _ in range(12 if has_bias else 1):
        log_temperature = _least(lambda value, b=bias: loss(math.exp(value), b), -4, 4)  # type: ignore[misc]
        if has_bias:
            bias = _least(lambda value, t=log_temperature: loss(math.exp(t), value), -8, 8)  # type: ignore[misc]
    return math.exp(log_temperature), bias


def quality(judged: Sequence[tuple[list[float], int]]) -> Quality:
    """judged: each row's probabilities, and the place of what was true."""
    marks = [_mark(found, truth) for found, truth in judged]
    brier = [
        math.fsum((probability - (place == truth)) ** 2 for place, probability in enumerate(found))
        for found, truth in judged
    ]
    chance = random.Random(1)
    resampled = sorted(_ece(chance.choices(marks, k=len(marks))) for _ in range(NUM_RESAMPLES))
    edge = NUM_RESAMPLES // 40
    return Quality(
        accuracy=sum(is_right for _, is_right in marks) / len(marks),
        brier=math.fsum(brier) / len(brier),
        ece=_ece(marks),
        ece_low=resampled[edge],
        ece_high=resampled[-1 - edge],
    )


def _mark(found: list[float], truth: int) -> tuple[float, bool]:
    """The confidence in the likeliest option, and whether it was the right one."""
    best = max(range(len(found)), key=found.__getitem__)
    return found[best], best == truth


def _ece(marks: Sequence[tuple[float, bool]]) -> float:
    sums = [0.0] * NUM_BINS
    for confidence, is_right in marks:
        sums[min(int(confidence * NUM_BINS), NUM_BINS - 1)] += confidence - is_right
    return math.fsum(map(abs, sums)) / len(marks)


def _least(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one minimum has it, to a thousandth."""
    left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    while high - low > 1e-3:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2
