"""Evals, their runs, and runs side by side: /v1/evals."""

from __future__ import annotations

from typing import Any

from llmos_tui.wire.common import Wire


class Eval(Wire, frozen=True, kw_only=True):
    """created_at: Unix seconds."""

    id: str
    name: str = ""
    testing_criteria: list[dict[str, Any]] = []
    created_at: int = 0


class EvalList(Wire, frozen=True, kw_only=True):
    data: list[Eval] = []
    has_more: bool = False


class ResultCounts(Wire, frozen=True, kw_only=True):
    total: int = 0
    errored: int = 0
    failed: int = 0
    passed: int = 0


class CriterionResult(Wire, frozen=True, kw_only=True):
    testing_criteria: str = ""
    mean_score: float | None = None


class EvalRun(Wire, frozen=True, kw_only=True):
    """status: "queued", "in_progress", "completed", "canceled" or "failed". model: "" where the answers came with the
    items. data_source: what it was made from, as a request for another one has it."""

    id: str
    eval_id: str = ""
    status: str = ""
    model: str = ""
    name: str = ""
    created_at: int = 0
    result_counts: ResultCounts = ResultCounts()
    per_testing_criteria_results: list[CriterionResult] = []
    data_source: dict[str, Any] = {}
    progress: float | None = None


class EvalRunList(Wire, frozen=True, kw_only=True):
    data: list[EvalRun] = []
    has_more: bool = False


class Interval(Wire, frozen=True, kw_only=True):
    """95 %."""

    mean: float
    low: float = 0.0
    high: float = 0.0


class ComparedCriterion(Wire, frozen=True, kw_only=True):
    """means: of the runs in their order. differences: of each but the first, minus the first."""

    testing_criteria: str = ""
    means: list[Interval] = []
    differences: list[Interval] = []


class EvalComparison(Wire, frozen=True, kw_only=True):
    """The first run is the one that others are compared with."""

    runs: list[EvalRun] = []
    num_items: int = 0
    num_left_out: int = 0
    criteria: list[ComparedCriterion] = []
