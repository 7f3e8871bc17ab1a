"""/v1/fine_tuning/alpha/graders: a grader alone, tried on one answer."""

from __future__ import annotations

import time

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.bodies.body import WireBody
from llmos_server.api.evals.fields import RUN_GRADER, VALIDATE_GRADER
from llmos_server.api.evals.means import open_means
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.graders import (
    GraderErrors,
    GraderMetadata,
    RunGraderRequest,
    RunGraderResponse,
    ValidateGraderRequest,
    ValidateGraderResponse,
)
from llmos_server.evaluation.asking import TokenUsage
from llmos_server.evaluation.graders.create import create_grader
from llmos_server.evaluation.grading import Grade, Grader, GraderFailed, sample_of
from llmos_server.evaluation.templates import MissingVariable

TAGS = ["Graders"]


class RunGraderBody(WireBody[RunGraderRequest]):
    table = RUN_GRADER


class ValidateGraderBody(WireBody[ValidateGraderRequest]):
    table = VALIDATE_GRADER


@post(
    "/v1/fine_tuning/alpha/graders/run",
    dto=RunGraderBody,
    return_dto=None,
    status_code=200,
    tags=TAGS,
    summary="Grade one answer",
    responses={200: ResponseSpec(RunGraderResponse, description="Its reward, or why there is none."), **ERRORS},
)
async def run_grader(request: AnyRequest, data: JSONBody[RunGraderRequest]) -> ASGIApp:
    values = {"item": data.item, "sample": sample_of(data.model_sample)}
    async with open_means(request) as means:
        grader = create_grader(data.grader, means)
        began = time.monotonic()
        try:
            grade = await run_until_disconnect(request.receive, grader.grade(values))
        except (GraderFailed, MissingVariable) as error:
            return json_response(request, _failed(grader, error, time.monotonic() - began))
    return json_response(request, _graded(grader, grade, time.monotonic() - began))


@post(
    "/v1/fine_tuning/alpha/graders/validate",
    dto=ValidateGraderBody,
    return_dto=None,
    status_code=200,
    tags=TAGS,
    summary="Whether a grader can be run",
    responses={200: ResponseSpec(ValidateGraderResponse, description="It can; here it is."), **ERRORS},
)
async def validate_grader(request: AnyRequest, data: JSONBody[ValidateGraderRequest]) -> ASGIApp:
    async with open_means(request) as means:
        create_grader(data.grader, means)
    return json_response(request, ValidateGraderResponse(grader=data.grader))


def _graded(grader: Grader, grade: Grade, seconds: float) -> RunGraderResponse:
    return RunGraderResponse(
        reward=grade.score,
        metadata=_metadata(grader, GraderErrors(), seconds, grade.usage, grade.sub_scores),
        sub_rewards=grade.sub_scores,
        model_grader_token_usage_per_model=_usage_by_model(grade.usage),
    )


def _failed(grader: Grader, error: GraderFailed | MissingVariable, seconds: float) -> RunGraderResponse:
    kind = error.kind if isinstance(error, GraderFailed) else "invalid_variable_error"
    usage = error.usage if isinstance(error, GraderFailed) else ()
    errors = GraderErrors()
    setattr(errors, kind, True)
    if kind == "python_grader_runtime_error":
        errors.python_grader_runtime_error_details = str(error)
    if kind == "model_grader_server_error":
        errors.model_grader_server_error_details = str(error)
    metadata = _metadata(grader, errors, seconds, usage, {})
    metadata.message = str(error)
    return RunGraderResponse(
        reward=0.0, metadata=metadata, sub_rewards={}, model_grader_token_usage_per_model=_usage_by_model(usage)
    )


def _metadata(
    grader: Grader, errors: GraderErrors, seconds: float, usage: tuple[TokenUsage, ...], scores: dict[str, float]
) -> GraderMetadata:
    return GraderMetadata(
        name=grader.name,
        type=grader.type,
        errors=errors,
        execution_time=seconds,
        scores=scores,
        token_usage=sum(call.total_tokens for call in usage) if usage else None,
        sampled_model_name=usage[0].model if usage else None,
    )


def _usage_by_model(usage: tuple[TokenUsage, ...]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for call in usage:
        sums = found.setdefault(
            call.model, dict.fromkeys(("prompt_tokens", "total_tokens", "completion_tokens", "cached_tokens"), 0)
        )
        for name in sums:
            sums[name] += getattr(call, name)
    return found


GRADER_HANDLERS = [run_grader, validate_grader]
