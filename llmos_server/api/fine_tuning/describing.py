"""Jobs, their events and their checkpoints in OpenAI's shapes."""

from __future__ import annotations

import msgspec

from llmos_server.api.fine_tuning.methods import shown_hyperparameters, type_of
from llmos_server.api.fine_tuning.order import Asked, Order, read_order, read_result
from llmos_server.api.schemas.fine_tuning import (
    FineTuningCheckpoint,
    FineTuningError,
    FineTuningEvent,
    FineTuningJob,
    Gate,
    Hyperparameters,
    JobState,
    MethodConfig,
    ReinforcementConfig,
    ShownMethod,
)
from llmos_server.evaluation.graders.spec import GraderSpec
from llmos_server.job_contracts import ENDED, Job, JobEvent
from llmos_server.training.spec import TuneResult


def describe(job: Job) -> FineTuningJob:
    order, result = read_order(job), read_result(job)
    asked = order.asked or _asked_elsewhere(order)
    values = {**order.values, **result.chosen}
    hyperparameters = shown_hyperparameters(order.method, asked.hyperparameters, values)
    has_succeeded = job.status == "succeeded"
    gate = order.gate
    return FineTuningJob(
        id=job.id,
        created_at=job.created // 1000,
        error=_error(job),
        fine_tuned_model=result.model or None if has_succeeded else None,
        finished_at=_seconds(job.ended) if job.status in ENDED else None,
        hyperparameters=hyperparameters,
        model=order.model,
        organization_id=job.owner,
        result_files=result.result_files,
        seed=int(order.values.get("seed", 0)),
        status=_state(job, result),
        trained_tokens=result.trained_tokens if has_succeeded else None,
        training_file=asked.training_file,
        validation_file=asked.validation_file,
        estimated_finish=_seconds(result.estimated_finish) if job.status == "running" else None,
        metadata=asked.metadata,
        method=_method(order, hyperparameters),
        user_provided_suffix=asked.suffix,
        recipe=asked.recipe,
        set=asked.set,
        too_long=order.too_long,
        gate=None if gate is None else Gate(eval_id=gate.eval_id, tolerance=gate.tolerance),
        verdict=result.verdict,
        started_at=_seconds(job.started),
        progress=job.progress,
        detail=job.detail,
        num_examples=result.num_examples or None,
        total_steps=result.total_steps or None,
        values=values,
    )


def describe_event(event: JobEvent) -> FineTuningEvent:
    return FineTuningEvent(
        id=event_id(event),
        created_at=event.created // 1000,
        level=event.level,
        message=event.message,
        type=event.type,
        data=event.data,
    )


def event_id(event: JobEvent) -> str:
    return f"ftevent-{event.job_id.removeprefix('ftjob-')}-{event.number}"


def describe_checkpoints(job: Job) -> list[FineTuningCheckpoint]:
    """The newest first."""
    found = sorted(read_result(job).checkpoints, key=lambda checkpoint: checkpoint.step, reverse=True)
    return [
        FineTuningCheckpoint(
            id=f"ftckpt-{job.id.removeprefix('ftjob-')}-{checkpoint.step}",
            created_at=checkpoint.created // 1000,
            fine_tuned_model_checkpoint=checkpoint.model,
            fine_tuning_job_id=job.id,
            step_number=checkpoint.step,
            metrics={"step": checkpoint.step, **checkpoint.metrics},
        )
        for checkpoint in found
    ]


def _asked_elsewhere(order: Order) -> Asked:
    return Asked(
        hyperparameters=Hyperparameters(),
        training_file=order.training_file,
        validation_file=order.validation_file or None,
        suffix=order.suffix or None,
        metadata=None,
        recipe="",
        set={},
    )


def _method(order: Order, hyperparameters: Hyperparameters) -> ShownMethod:
    kind = type_of(order.method)
    config = MethodConfig(hyperparameters=hyperparameters)
    if order.grader is not None:
        grader = msgspec.convert(order.grader, GraderSpec)
        reinforcement = ReinforcementConfig(grader=grader, hyperparameters=hyperparameters)
        return ShownMethod(type=kind, reinforcement=reinforcement)
    return ShownMethod(
        type=kind, supervised=config if kind == "supervised" else None, dpo=config if kind == "dpo" else None
    )


def _state(job: Job, result: TuneResult) -> JobState:
    if job.status == "running":
        return "validating_files" if result.stage == "validating" else "running"
    return job.status


def _error(job: Job) -> FineTuningError | None:
    error = job.error
    return None if error is None else FineTuningError(code=error.code, message=error.message, param=error.param)


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
