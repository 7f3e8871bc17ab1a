"""Wire structs of /v1/evals, in OpenAI's shapes; what is ours is marked so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from llmos_server.api.schemas.responses import Metadata
from llmos_server.evaluation.graders.spec import GraderSpec
from llmos_server.evaluation.metrics.bootstrap import Interval
from llmos_server.evaluation.sources import DataSource
from llmos_server.evaluation.tally import CriterionResult, ModelUsage, ResultCounts
from llmos_server.store.eval_runs import RunStatus
from llmos_server.store.eval_tables import MAX_NAME_LENGTH

MAX_CRITERIA = 64
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]


class CustomConfig(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="custom"):
    item_schema: dict[str, Any]
    include_sample_schema: bool = False


class LogsConfig(Struct, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="logs"):
    """Stored responses."""

    metadata: Metadata | None = None


DataSourceConfig = CustomConfig | LogsConfig


class CreateEvalRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    data_source_config: DataSourceConfig
    testing_criteria: Annotated[list[GraderSpec], Meta(min_length=1, max_length=MAX_CRITERIA)]
    name: Name | None = None
    metadata: Metadata | None = None


class UpdateEvalRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    name: Name | None = None
    metadata: Metadata | None = None


class CreateEvalRunRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    data_source: DataSource
    name: Name | None = None
    metadata: Metadata | None = None


class Eval(Struct, kw_only=True):
    id: str
    object: Literal["eval"] = "eval"
    name: str
    data_source_config: dict[str, Any]
    """type, and the JSON Schema of a row: {"item": ..., "sample": ...}."""
    testing_criteria: list[dict[str, Any]]
    created_at: int
    """Unix seconds."""
    metadata: dict[str, str]


class EvalList(Struct, kw_only=True):
    """A page. The ids are null when it is empty, as of the lists below."""

    object: Literal["list"] = "list"
    data: list[Eval]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedEval(Struct, kw_only=True):
    object: Literal["eval.deleted"] = "eval.deleted"
    deleted: bool = True
    eval_id: str


class EvalApiError(Struct, kw_only=True):
    code: str
    message: str


class EvalRun(Struct, kw_only=True):
    object: Literal["eval.run"] = "eval.run"
    id: str
    eval_id: str
    status: RunStatus
    model: str
    """ "" where the answers were given with the items."""
    name: str
    created_at: int
    report_url: str
    result_counts: ResultCounts
    per_model_usage: list[ModelUsage]
    per_testing_criteria_results: list[CriterionResult]
    data_source: dict[str, Any]
    metadata: dict[str, str]
    error: EvalApiError | None
    model_digest: str | None
    """Extension: of the weights that answered, an adapter's included; null before the end."""
    progress: float | None
    """Extension: 0 to 1."""


class EvalRunList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[EvalRun]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedEvalRun(Struct, kw_only=True):
    object: Literal["eval.run.deleted"] = "eval.run.deleted"
    deleted: bool = True
    run_id: str


class EvalOutputItem(Struct, kw_only=True):
    object: Literal["eval.run.output_item"] = "eval.run.output_item"
    id: str
    run_id: str
    eval_id: str
    created_at: int
    status: Literal["pass", "fail", "error"]
    datasource_item_id: int
    """The item's place, from 0 on."""
    datasource_item: dict[str, Any]
    results: list[dict[str, Any]]
    """A grader each: name, type, score, passed, sample; error where there is no grade."""
    sample: dict[str, Any]


class EvalOutputItemList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[EvalOutputItem]
    first_id: str | None
    last_id: str | None
    has_more: bool


class ComparedCriterion(Struct, kw_only=True):
    testing_criteria: str
    """A grader's name; "passed" is of the items that pass all, which is 0 or 1, and "score" the mean of several
    graders."""
    means: list[Interval]
    """Of the runs, in their order."""
    differences: list[Interval]
    """Of each run but the first one minus the first one: paired bootstrap, 95 %."""


class EvalComparison(Struct, kw_only=True):
    """Extension: runs of one eval over the same items, the first of which is the base."""

    object: Literal["eval.comparison"] = "eval.comparison"
    eval_id: str
    runs: list[EvalRun]
    num_items: int
    """That all of them have graded."""
    num_left_out: int
    """Which an error kept from a grade in one of them."""
    criteria: list[ComparedCriterion]
