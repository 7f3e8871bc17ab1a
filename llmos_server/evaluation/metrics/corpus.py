"""Figures of a whole set, which aren't the mean of its texts'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from llmos_server.calibration.calibration import Reliability
from llmos_server.calibration.reliability import Judged, measure
from llmos_server.evaluation.metrics.extras import load


class CorpusScore(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    score: float
    """0 to 100, as sacrebleu tells it."""
    signature: str
    """sacrebleu's: what has to be equal for two such scores to be comparable."""


class LabelScores(msgspec.Struct, frozen=True, kw_only=True):
    """Of answers that are one of a few labels."""

    accuracy: float
    macro_f1: float
    """The mean of the labels' F1, each alike."""
    f1: dict[str, float]


def corpus_bleu(texts: Sequence[str], references: Sequence[str]) -> CorpusScore:
    return _score("BLEU", load("sacrebleu.metrics.bleu", "BLEU").BLEU(), texts, references)


def corpus_chrf(texts: Sequence[str], references: Sequence[str]) -> CorpusScore:
    return _score("chrF2", load("sacrebleu.metrics.chrf", "chrF").CHRF(), texts, references)


def _score(name: str, metric: Any, texts: Sequence[str], references: Sequence[str]) -> CorpusScore:
    found = metric.corpus_score(list(texts), [list(references)])
    return CorpusScore(name=name, score=float(found.score), signature=str(metric.get_signature()))


def score_labels(answers: Sequence[str], references: Sequence[str]) -> LabelScores:
    """answers that are no label count as wrong ones. Neither is empty."""
    pairs = list(zip(answers, references, strict=True))
    hits = Counter(reference for answer, reference in pairs if answer == reference)
    given, wanted = Counter(answers), Counter(references)
    f1 = {label: 2 * hits[label] / (given[label] + wanted[label]) for label in wanted}
    return LabelScores(accuracy=hits.total() / len(pairs), macro_f1=sum(f1.values()) / len(f1), f1=f1)


def calibration(confidences: Sequence[float], passed: Sequence[bool]) -> Reliability:
    """How well the probability that a model gave its whole answer foretells that it passes. Neither is empty."""
    judged = [
        Judged(probabilities=[confidence, 1 - confidence], truth=0 if right else 1, group=str(place))
        for place, (confidence, right) in enumerate(zip(confidences, passed, strict=True))
    ]
    return measure(judged, of_first=True)
