"""What has come of a run so far, item by item."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from llmos_server.evaluation.asking import TokenUsage


class ResultCounts(msgspec.Struct, kw_only=True):
    total: int = 0
    errored: int = 0
    failed: int = 0
    passed: int = 0


class CriterionResult(msgspec.Struct, kw_only=True):
    testing_criteria: str
    passed: int = 0
    failed: int = 0
    errored: int = 0
    """Extension: items without a score."""
    mean_score: float | None = None
    """Extension: of those with one."""


class ModelUsage(msgspec.Struct, kw_only=True):
    model_name: str
    invocation_count: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0


class RunResult(msgspec.Struct, kw_only=True):
    result_counts: ResultCounts
    per_testing_criteria_results: list[CriterionResult]
    per_model_usage: list[ModelUsage]
    model_digest: str | None = None
    """Of the weights that answered, an adapter's included."""


class Tally:
    def __init__(self, criteria: Iterable[str]) -> None:
        """criteria: the graders' names."""
        self._counts = ResultCounts()
        self._criteria = {name: CriterionResult(testing_criteria=name) for name in criteria}
        self._sums: Counter[str] = Counter()
        self._usage: dict[str, ModelUsage] = {}

    def add(self, status: str, results: Iterable[dict[str, Any]], usage: Iterable[TokenUsage]) -> None:
        """status: of the item; results: as output items have them."""
        self._counts.total += 1
        self._counts.passed += status == "pass"
        self._counts.failed += status == "fail"
        self._counts.errored += status == "error"
        for result in results:
            self._add_result(result)
        for call in usage:
            self._add_call(call)

    def _add_result(self, result: dict[str, Any]) -> None:
        criterion = self._criteria[result["name"]]
        if result.get("error") is not None:
            criterion.errored += 1
            return
        criterion.passed += result["passed"]
        criterion.failed += not result["passed"]
        self._sums[result["name"]] += result["score"]
        criterion.mean_score = self._sums[result["name"]] / (criterion.passed + criterion.failed)

    def _add_call(self, call: TokenUsage) -> None:
        used = self._usage.setdefault(call.model, ModelUsage(model_name=call.model))
        used.invocation_count += 1
        used.prompt_tokens += call.prompt_tokens
        used.completion_tokens += call.completion_tokens
        used.total_tokens += call.total_tokens
        used.cached_tokens += call.cached_tokens

    def result(self, model_digest: str | None = None) -> RunResult:
        return RunResult(
            result_counts=self._counts,
            per_testing_criteria_results=list(self._criteria.values()),
            per_model_usage=list(self._usage.values()),
            model_digest=model_digest,
        )
