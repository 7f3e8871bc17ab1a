"""A batch as clients see it: its job, and what that has told."""

from __future__ import annotations

import msgspec

from llmos_server.api.schemas.batches import (
    Batch,
    BatchError,
    BatchErrors,
    BatchStatus,
    BatchUsage,
    InputTokensDetails,
    OutputTokensDetails,
    RequestCounts,
)
from llmos_server.batches.spec import WINDOW, BatchSpec, BatchState, LineError, Tokens
from llmos_server.job_contracts import Job


def describe(job: Job) -> Batch:
    spec = msgspec.json.decode(job.payload, type=BatchSpec)
    state = BatchState() if job.result is None else msgspec.json.decode(job.result, type=BatchState)
    status = _status(job, state)
    ended = _seconds(job.ended)
    return Batch(
        id=job.id,
        endpoint=spec.endpoint,
        model=state.model,
        errors=_errors(job, state),
        input_file_id=spec.input_file_id,
        completion_window=WINDOW,
        status=status,
        output_file_id=state.output_file_id,
        error_file_id=state.error_file_id,
        created_at=job.created // 1000,
        in_progress_at=_seconds(state.in_progress),
        expires_at=spec.expires // 1000,
        finalizing_at=_seconds(state.finalizing),
        completed_at=ended if status == "completed" else None,
        failed_at=ended if status == "failed" else None,
        expired_at=ended if status == "expired" else None,
        cancelling_at=_seconds(state.cancelling),
        cancelled_at=ended if status == "cancelled" else None,
        request_counts=RequestCounts(total=state.total, completed=state.completed, failed=state.failed),
        usage=_usage(state.tokens),
        metadata=spec.metadata,
    )


def _status(job: Job, state: BatchState) -> BatchStatus:
    if job.status == "succeeded":
        return "expired" if state.has_expired else "completed"
    if job.status in ("failed", "cancelled"):
        return "failed" if job.status == "failed" else "cancelled"
    if job.wish == "cancel":
        return "cancelling"
    if state.finalizing is not None:
        return "finalizing"
    return "validating" if state.in_progress is None else "in_progress"


def _errors(job: Job, state: BatchState) -> BatchErrors | None:
    """Of the lines; where these are good, why the batch failed all the same."""
    found = list(state.errors)
    if not found and job.error is not None:
        found = [LineError(code=job.error.code, message=job.error.message, param=job.error.param)]
    data = [BatchError(code=one.code, message=one.message, param=one.param, line=one.line) for one in found]
    return BatchErrors(data=data) if data else None


def _usage(tokens: Tokens) -> BatchUsage:
    return BatchUsage(
        input_tokens=tokens.prompt,
        input_tokens_details=InputTokensDetails(cached_tokens=tokens.cached),
        output_tokens=tokens.completion,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=tokens.reasoning),
        total_tokens=tokens.prompt + tokens.completion,
    )


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
