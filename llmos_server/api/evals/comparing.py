"""/v1/evals/{eval_id}/compare: runs side by side, as JSON or as a report."""

from __future__ import annotations

import asyncio

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp

from llmos_server.api.evals.describing import describe_run, find_eval, find_run
from llmos_server.api.evals.evals import ERROR_SPECS, TAGS
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.evals import ComparedCriterion, EvalComparison
from llmos_server.api.services import store_of
from llmos_server.api.stored.query import check_names
from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.comparing import compare, read_scores
from llmos_server.store.eval_runs import StoredRun

MAX_RUNS = 8


@get(
    "/v1/evals/{eval_id:str}/compare",
    tags=TAGS,
    summary="Runs of an eval side by side, with paired intervals",
    description=f"runs: ids of 2 to {MAX_RUNS} completed runs over the same items, with commas; the first is the base.",
    responses={200: ResponseSpec(EvalComparison, description="Means, and differences to the base."), **ERROR_SPECS},
)
async def compare_runs(request: AnyRequest, eval_id: FromPath[str], runs: FromQuery[str | None] = None) -> ASGIApp:
    check_names(request, ("runs",))
    measured = await find_eval(request, eval_id)
    found = await find_completed(request, eval_id, runs or "", least=2)
    items, owner = store_of(request).eval_items, principal_of(request).key_id
    scores = [await read_scores(items.all(owner, run.id)) for run in found]
    names = [criterion["name"] for criterion in measured.content["testing_criteria"]]
    comparison = await asyncio.to_thread(compare, scores, names)
    return json_response(
        request,
        EvalComparison(
            eval_id=eval_id,
            runs=[describe_run(request, run) for run in found],
            num_items=comparison.num_items,
            num_left_out=comparison.num_left_out,
            criteria=[
                ComparedCriterion(testing_criteria=one.name, means=one.means, differences=one.differences)
                for one in comparison.criteria
            ],
        ),
    )


async def find_completed(request: AnyRequest, eval_id: str, text: str, *, least: int) -> list[StoredRun]:
    """text: ids with commas between. Raises InvalidRequest, and NotFound."""
    ids = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not least <= len(ids) <= MAX_RUNS:
        raise InvalidRequest(f"runs holds the ids of {least} to {MAX_RUNS} runs, with commas between.", param="runs")
    found = [await find_run(request, eval_id, run_id) for run_id in ids]
    for run in found:
        if run.status != "completed":
            raise InvalidRequest(
                f"The run {run.id} is {run.status}: it can be compared when it is completed.",
                param="runs",
                code="run_not_completed",
            )
    return found


COMPARING_HANDLERS = [compare_runs]
