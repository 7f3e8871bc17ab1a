"""What the skill takes and answers."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

MAX_LABELS = 256
MAX_DEPTH = 8

Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Label(Struct, kw_only=True, forbid_unknown_fields=True):
    name: Name
    description: Annotated[str, Meta(max_length=2000)] = ""
    """For the model: what belongs here."""
    labels: Annotated[list[Name | Label], Meta(max_length=MAX_LABELS)] = []
    """Those below this one."""


class ClassificationInput(Struct, kw_only=True):
    text: Annotated[str, Meta(min_length=1)]
    labels: Annotated[list[Name | Label], Meta(min_length=1, max_length=MAX_LABELS)]
    """Names, or objects with descriptions and, maybe, labels below. "a/b" is the label b below a."""
    multiple: bool = False
    """Any number of labels may fit, none included; else exactly one does."""
    threshold: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    """With multiple: labels at least this likely are the result."""
    separator: Annotated[str, Meta(max_length=8)] = "/"
    """Between the names of a path; "" where names hold it and mean nothing by it."""
    calibrated: bool = True
    """False: probabilities as the model gives them, though a calibration was measured."""


class Measured(Struct, kw_only=True, frozen=True):
    """What is known of how far this model's probabilities can be trusted."""

    is_applied: bool
    """False: they are as the model gives them, as what was fitted made them no better, or `calibrated` was false."""
    temperature: float
    bias: float
    """calibrated = function(score / temperature + bias): softmax for one label, the logistic function for several."""
    num_rows: int
    ece_raw: float
    ece_calibrated: float
    """Expected calibration error on those rows, before and after."""


class ClassificationOutput(Struct, kw_only=True):
    result: str | list[str]
    """The path of the most likely label; with multiple, those of all that fit, the most likely first."""
    probabilities: dict[str, float]
    """Of each label by its path, the most likely first. A label with labels below has the sum of theirs, or with
    multiple the probability that it fits at all."""
    confidence: float | None
    """The result's probability; None with multiple."""
    calibration: Measured | None
    """None: it was not measured for this model; the probabilities rank labels, and may not mean more."""
