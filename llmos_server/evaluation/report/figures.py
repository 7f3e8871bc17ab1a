"""What a report tells of a run, from what came of its items."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from llmos_server.calibration.calibration import Reliability
from llmos_server.evaluation.comparing import Comparison, Graded, grade_of
from llmos_server.evaluation.metrics.bootstrap import Interval, interval_of_mean
from llmos_server.evaluation.metrics.corpus import (
    CorpusScore,
    LabelScores,
    calibration,
    corpus_bleu,
    corpus_chrf,
    score_labels,
)

CORPUS = {"bleu": corpus_bleu, "chrf": corpus_chrf}
MAX_LABELS = 50
"""More different references are texts, not labels."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One item, for people."""

    position: int
    item: str
    """As JSON."""
    output: str
    status: str
    scores: dict[str, float]


class CriterionFigures(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: str
    scores: list[float]
    mean: Interval
    passed: float
    """Share, of those with a grade."""
    corpus: CorpusScore | None = None
    labels: LabelScores | None = None


class RunFigures(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    model: str
    digest: str
    num_items: int
    num_errors: int
    passed: Interval | None
    """None where no item was graded."""
    criteria: list[CriterionFigures]
    calibration: Reliability | None
    answers: list[Answer]
    graded: dict[int, Graded]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    title: str
    made: str
    """When, for people."""
    runs: list[RunFigures]
    comparison: Comparison | None
    """None for one run."""


class RunReader:
    def __init__(self, run_id: str, name: str, model: str, digest: str) -> None:
        self._head = {"id": run_id, "name": name, "model": model, "digest": digest}
        self._items: list[Any] = []

    async def read(self, items: AsyncIterator[Any]) -> None:
        self._items = [item async for item in items]

    def figures(self, criteria: Sequence[dict[str, Any]]) -> RunFigures:
        """criteria: the graders' descriptions. Takes a moment for many items."""
        graded = [item for item in self._items if item.status != "error"]
        found = [_criterion(description, graded) for description in criteria] if graded else []
        return RunFigures(
            **self._head,
            num_items=len(self._items),
            num_errors=len(self._items) - len(graded),
            passed=interval_of_mean([float(item.status == "pass") for item in graded]) if graded else None,
            criteria=found,
            calibration=_calibration(graded),
            answers=[_answer(item) for item in self._items],
            graded={item.position: grade_of(item) for item in self._items},
        )


def _criterion(description: dict[str, Any], items: Sequence[Any]) -> CriterionFigures:
    name = description["name"]
    results = [next(one for one in item.content["results"] if one["name"] == name) for item in items]
    scores = [float(one["score"]) for one in results]
    texts = [(one["sample"]["input"], one["sample"]["reference"]) for one in results if _has_texts(one)]
    whole = len(texts) == len(results)
    return CriterionFigures(
        name=name,
        type=description["type"],
        scores=scores,
        mean=interval_of_mean(scores),
        passed=sum(one["passed"] for one in results) / len(results),
        corpus=_corpus(description, texts) if whole else None,
        labels=_labels(description, texts) if whole else None,
    )


def _has_texts(result: dict[str, Any]) -> bool:
    sample = result["sample"]
    return isinstance(sample, dict) and isinstance(sample.get("input"), str) and "reference" in sample


def _corpus(description: dict[str, Any], texts: Sequence[tuple[str, str]]) -> CorpusScore | None:
    score = CORPUS.get(description.get("evaluation_metric", ""))
    return score([text for text, _ in texts], [reference for _, reference in texts]) if score is not None else None


def _labels(description: dict[str, Any], texts: Sequence[tuple[str, str]]) -> LabelScores | None:
    references = {reference for _, reference in texts}
    if description.get("operation") != "eq" or not 2 <= len(references) <= MAX_LABELS or len(references) == len(texts):
        return None
    return score_labels([text for text, _ in texts], [reference for _, reference in texts])


def _calibration(items: Sequence[Any]) -> Reliability | None:
    """Where every answer has a probability."""
    confidences = [item.content["sample"].get("confidence") for item in items]
    if not items or any(confidence is None for confidence in confidences):
        return None
    return calibration([min(confidence, 1.0) for confidence in confidences], [item.status == "pass" for item in items])


def _answer(item: Any) -> Answer:
    sample = item.content["sample"]
    error = sample.get("error")
    output = error["message"] if error else "\n".join(str(part.get("content") or "") for part in sample["output"])
    return Answer(
        position=item.position,
        item=msgspec.json.encode(item.content["datasource_item"]).decode(),
        output=output,
        status=item.status,
        scores={one["name"]: one["score"] for one in item.content["results"] if "error" not in one},
    )
