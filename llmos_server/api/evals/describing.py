"""Stored evals, runs and items as OpenAI's objects."""

from __future__ import annotations

import msgspec

from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.schemas.evals import Eval, EvalApiError, EvalOutputItem, EvalRun
from llmos_server.api.services import store_of
from llmos_server.evaluation.tally import ResultCounts, RunResult
from llmos_server.store.eval_items import StoredItem
from llmos_server.store.eval_runs import StoredRun
from llmos_server.store.evals import StoredEval

_RUN = "evalrun_"
_ITEM = "outputitem_"
NOTHING = RunResult(result_counts=ResultCounts(), per_testing_criteria_results=[], per_model_usage=[])


async def find_eval(request: AnyRequest, eval_id: str) -> StoredEval:
    """Raises NotFound for another key's, too."""
    found = await store_of(request).evals.get(principal_of(request).key_id, eval_id)
    if found is None:
        raise NotFound(f"No eval of yours has the id {eval_id[:100]!r}.", param="eval_id", code="eval_not_found")
    return found


async def find_run(request: AnyRequest, eval_id: str, run_id: str) -> StoredRun:
    """Raises NotFound for another key's, too."""
    found = await store_of(request).eval_runs.get(principal_of(request).key_id, eval_id, run_id)
    if found is None:
        raise no_run(eval_id, run_id)
    return found


def no_run(eval_id: str, run_id: str) -> NotFound:
    return NotFound(
        f"The eval {eval_id[:100]!r} has no run {run_id[:100]!r} of yours.", param="run_id", code="run_not_found"
    )


def describe_eval(found: StoredEval) -> Eval:
    return Eval(
        id=found.id,
        name=found.name,
        data_source_config=found.content["data_source_config"],
        testing_criteria=found.content["testing_criteria"],
        created_at=found.created // 1000,
        metadata=found.content["metadata"],
    )


def describe_run(request: AnyRequest, run: StoredRun) -> EvalRun:
    result = NOTHING if run.result is None else msgspec.convert(run.result, RunResult)
    error = run.error
    return EvalRun(
        id=run.id,
        eval_id=run.eval_id,
        status=run.status,
        model=run.model,
        name=run.name,
        created_at=run.created // 1000,
        report_url=f"{str(request.base_url).rstrip('/')}/v1/evals/{run.eval_id}/runs/{run.id}/report",
        result_counts=result.result_counts,
        per_model_usage=result.per_model_usage,
        per_testing_criteria_results=result.per_testing_criteria_results,
        data_source=run.content["data_source"],
        metadata=run.content["metadata"],
        error=None if error is None else EvalApiError(code=error.code, message=error.message),
        model_digest=result.model_digest,
        progress=1.0 if run.status == "completed" else run.progress,
    )


def describe_item(eval_id: str, item: StoredItem) -> EvalOutputItem:
    return EvalOutputItem(
        id=f"{_ITEM}{item.run_id.removeprefix(_RUN)}_{item.position}",
        run_id=item.run_id,
        eval_id=eval_id,
        created_at=item.created // 1000,
        status=item.status,
        datasource_item_id=item.position,
        datasource_item=item.content["datasource_item"],
        results=item.content["results"],
        sample=item.content["sample"],
    )


def position_of(run_id: str, item_id: str) -> int | None:
    """None for what is no id of an item of that run."""
    head, _, place = item_id.rpartition("_")
    if head != _ITEM + run_id.removeprefix(_RUN) or not (place.isascii() and place.isdigit() and len(place) < 10):
        return None
    return int(place)
