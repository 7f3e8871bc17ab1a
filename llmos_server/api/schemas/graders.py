"""Wire structs of /v1/fine_tuning/alpha/graders."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from llmos_server.evaluation.graders.spec import GraderSpec

MAX_SAMPLE = 1_000_000


class RunGraderRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    grader: GraderSpec
    item: dict[str, Any] = {}
    model_sample: Annotated[str, Meta(max_length=MAX_SAMPLE)]


class ValidateGraderRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    grader: GraderSpec


class ValidateGraderResponse(Struct, kw_only=True):
    grader: GraderSpec
    """It can be run."""


class GraderErrors(Struct, kw_only=True):
    formula_parse_error: bool = False
    sample_parse_error: bool = False
    truncated_observation_error: bool = False
    unresponsive_reward_error: bool = False
    invalid_variable_error: bool = False
    other_error: bool = False
    python_grader_server_error: bool = False
    python_grader_server_error_type: str | None = None
    python_grader_runtime_error: bool = False
    python_grader_runtime_error_details: str | None = None
    model_grader_server_error: bool = False
    model_grader_refusal_error: bool = False
    model_grader_parse_error: bool = False
    model_grader_server_error_details: str | None = None


class GraderMetadata(Struct, kw_only=True):
    name: str
    type: str
    errors: GraderErrors
    execution_time: float
    """Seconds."""
    scores: dict[str, float]
    token_usage: int | None
    """Of all models that were asked."""
    sampled_model_name: str | None
    message: str | None = None
    """Extension: why there is no grade."""


class RunGraderResponse(Struct, kw_only=True):
    reward: float
    """0 where an error is told."""
    metadata: GraderMetadata
    sub_rewards: dict[str, float]
    model_grader_token_usage_per_model: dict[str, dict[str, int]]
