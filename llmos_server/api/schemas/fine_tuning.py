"""Wire structs of /v1/fine_tuning/jobs, in OpenAI's shapes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from llmos_server.api.schemas.responses import Metadata
from llmos_server.evaluation.graders.spec import GraderSpec
from llmos_server.job_contracts import Level
from llmos_server.training.spec import GateVerdict

FileId = Annotated[str, Meta(min_length=1, max_length=128)]
MethodType = Literal["supervised", "dpo", "reinforcement"]
TooLong = Literal["refuse", "drop"]
Auto = Literal["auto"]
JobState = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]


class Hyperparameters(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Of any method; which of them a method has is in the tables of api/fine_tuning/fields.py."""

    batch_size: Annotated[int, Meta(ge=1, le=256)] | Auto | None = None
    learning_rate_multiplier: Annotated[float, Meta(gt=0)] | Auto | None = None
    n_epochs: Annotated[int, Meta(ge=1, le=50)] | Auto | None = None
    beta: Annotated[float, Meta(gt=0, le=2)] | Auto | None = None
    eval_interval: Annotated[int, Meta(ge=1)] | Auto | None = None


class MethodConfig(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    hyperparameters: Hyperparameters | None = None


class ReinforcementConfig(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    grader: GraderSpec
    hyperparameters: Hyperparameters | None = None


class Method(Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    type: MethodType
    supervised: MethodConfig | None = None
    dpo: MethodConfig | None = None
    reinforcement: ReinforcementConfig | None = None


class ShownMethod(Struct, kw_only=True, omit_defaults=True):
    type: str
    """supervised, dpo, or what a recipe trains by."""
    supervised: MethodConfig | None = None
    dpo: MethodConfig | None = None
    reinforcement: ReinforcementConfig | None = None


class Gate(Struct, kw_only=True, forbid_unknown_fields=True):
    """Extension: an eval that the result may not do worse at than its base."""

    eval_id: Annotated[str, Meta(min_length=1, max_length=128)]
    tolerance: Annotated[float, Meta(ge=0)] = 0.0


class CreateFineTuningJobRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    model: Annotated[str, Meta(min_length=1, max_length=512)]
    training_file: FileId
    validation_file: FileId | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    suffix: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    metadata: Metadata | None = None
    recipe: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    set: Annotated[dict[str, Any], Meta(max_length=64)] | None = None
    too_long: TooLong | None = None
    gate: Gate | None = None


class FineTuningError(Struct, kw_only=True):
    code: str
    message: str
    param: str | None


class FineTuningJob(Struct, kw_only=True):
    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    """Unix seconds, as all other times here."""
    error: FineTuningError | None
    fine_tuned_model: str | None
    """The name that answers."""
    finished_at: int | None
    hyperparameters: Hyperparameters
    """With what "auto" came to, once the run has seen the data."""
    model: str
    organization_id: str
    """The key's id; "" is nobody's."""
    result_files: list[str]
    seed: int
    status: JobState
    trained_tokens: int | None
    training_file: str
    validation_file: str | None
    estimated_finish: int | None
    integrations: list[Any] = []
    metadata: dict[str, str] | None
    method: ShownMethod
    user_provided_suffix: str | None
    """OpenAI answers it, and has it in no document."""
    recipe: str
    """Extensions from here on: the recipe whose values the run has, and those that were set beside it."""
    set: dict[str, Any]
    too_long: TooLong
    gate: Gate | None
    verdict: GateVerdict | None
    """What the gate said."""
    started_at: int | None
    progress: float | None
    """0 to 1."""
    detail: str
    """What it does just now."""
    num_examples: int | None
    total_steps: int | None
    values: dict[str, Any]
    """TRL's keys, as the run has them."""


class FineTuningJobList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[FineTuningJob]
    has_more: bool


class FineTuningEvent(Struct, kw_only=True):
    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Level
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any]


class FineTuningEventList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[FineTuningEvent]
    has_more: bool


class FineTuningCheckpoint(Struct, kw_only=True):
    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    """The name that answers."""
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, float]


class FineTuningCheckpointList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[FineTuningCheckpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool
