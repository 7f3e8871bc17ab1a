"""/v1/evals/{eval_id}/runs: items, answered by a model and graded; each run is a job of the queue."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody
from litestar.types import ASGIApp

from llmos_server.api.agents.keeping import require_keeping
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.errors import NotFound
from llmos_server.api.evals.describing import describe_run, find_eval, find_run, no_run
from llmos_server.api.evals.evals import ERROR_SPECS, TAGS
from llmos_server.api.evals.fields import CREATE_RUN
from llmos_server.api.evals.means import open_means
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model, principal_of
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.evals import CreateEvalRunRequest, DeletedEvalRun, EvalRun, EvalRunList
from llmos_server.api.services import files_of, store_of
from llmos_server.api.stored.query import PAGE, check_names, read_page
from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.sampling import create_sampler
from llmos_server.evaluation.sources import DataSource, FileId, StoredResponses, model_of
from llmos_server.job_contracts import Job
from llmos_server.store.eval_runs import STATUSES, StoredRun
from llmos_server.store.objects import new_id, now_milliseconds

RUN_STATUSES = tuple(dict.fromkeys(STATUSES.values()))
OK = {200: ResponseSpec(EvalRun, description="As it is now."), **ERROR_SPECS}


class CreateRunBody(WireBody[CreateEvalRunRequest]):
    table = CREATE_RUN


@post(
    "/v1/evals/{eval_id:str}/runs",
    dto=CreateRunBody,
    return_dto=None,
    tags=TAGS,
    summary="Measure a model",
    responses={201: ResponseSpec(EvalRun, description="It is queued."), 403: ERRORS[400], **ERROR_SPECS},
)
async def create_run(request: AnyRequest, eval_id: FromPath[str], data: JSONBody[CreateEvalRunRequest]) -> ASGIApp:
    require_keeping(request)
    await find_eval(request, eval_id)
    await _check_source(request, data.data_source)
    model, owner, now = model_of(data.data_source), principal_of(request).key_id, now_milliseconds()
    if isinstance(data.data_source.source, StoredResponses) and data.data_source.source.created_before is None:
        data.data_source.source.created_before = now // 1000  # So that a later run of this source has these items.
    run = StoredRun(
        owner=owner,
        id=new_id("evalrun"),
        eval_id=eval_id,
        name=data.name or model or "Run",
        model=model,
        content={"data_source": msgspec.to_builtins(data.data_source), "metadata": data.metadata or {}},
        created=now,
    )
    title = f"eval of {model}" if model else "eval of given answers"
    job = Job(id=run.id, kind="eval", owner=owner, title=title, payload=b"{}", created=run.created)
    await store_of(request).eval_runs.add(run, job)
    return json_response(request, describe_run(request, run), status=201)


@get(
    "/v1/evals/{eval_id:str}/runs",
    tags=TAGS,
    summary="Runs of an eval",
    description=f"status: one of {', '.join(RUN_STATUSES)}.",
    responses={
        200: ResponseSpec(EvalRunList, description="A page, the oldest first unless order=desc."),
        **ERROR_SPECS,
    },
)
async def list_runs(
    request: AnyRequest,
    eval_id: FromPath[str],
    after: FromQuery[str | None] = None,
    limit: FromQuery[str | None] = None,
    order: FromQuery[str | None] = None,
    status: FromQuery[str | None] = None,
) -> ASGIApp:
    check_names(request, (*PAGE, "status"))
    page = read_page(request, order="asc")
    wanted = next((name for name in RUN_STATUSES if name == status), None)
    if status is not None and wanted is None:
        raise InvalidRequest(f"status is one of {', '.join(RUN_STATUSES)}.", param="status")
    await find_eval(request, eval_id)
    found = await store_of(request).eval_runs.page(
        principal_of(request).key_id,
        eval_id,
        after=page.after,
        limit=page.limit,
        order=page.order,
        status=wanted,
    )
    data = [describe_run(request, run) for run in found.runs]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return json_response(request, EvalRunList(data=data, first_id=first, last_id=last, has_more=found.has_more))


@get("/v1/evals/{eval_id:str}/runs/{run_id:str}", tags=TAGS, summary="A run", responses=OK)
async def get_run(request: AnyRequest, eval_id: FromPath[str], run_id: FromPath[str]) -> ASGIApp:
    return json_response(request, describe_run(request, await find_run(request, eval_id, run_id)))


@post(
    ["/v1/evals/{eval_id:str}/runs/{run_id:str}", "/v1/evals/{eval_id:str}/runs/{run_id:str}/cancel"],
    status_code=200,
    tags=TAGS,
    summary="Cancel a run",
    description="One that has ended is answered as it is; what was measured stays. OpenAI's document has the first "
    "path, their SDK asks the second.",
    responses=OK,
)
async def cancel_run(request: AnyRequest, eval_id: FromPath[str], run_id: FromPath[str]) -> ASGIApp:
    await find_run(request, eval_id, run_id)
    await store_of(request).jobs.wish(principal_of(request).key_id, run_id, "cancel")
    return json_response(request, describe_run(request, await find_run(request, eval_id, run_id)))


@delete(
    "/v1/evals/{eval_id:str}/runs/{run_id:str}",
    status_code=200,
    tags=TAGS,
    summary="Delete a run with what came of its items; one that is under way ends",
    responses={200: ResponseSpec(DeletedEvalRun, description="It was there, and is no more."), **ERROR_SPECS},
)
async def delete_run(request: AnyRequest, eval_id: FromPath[str], run_id: FromPath[str]) -> ASGIApp:
    store, owner = store_of(request), principal_of(request).key_id
    await find_run(request, eval_id, run_id)
    await store.jobs.wish(owner, run_id, "cancel")
    if not await store.eval_runs.delete(owner, eval_id, run_id):
        raise no_run(eval_id, run_id)
    return json_response(request, DeletedEvalRun(run_id=run_id))


async def _check_source(request: AnyRequest, source: DataSource) -> None:
    """What can be known before it is run. Raises InvalidRequest, ModelNotFound, or Forbidden."""
    async with open_means(request) as means:
        create_sampler(source, means.models)
    if isinstance(source.source, FileId):
        await _check_file(request, source.source.id)
    if model := model_of(source):
        await find_model(request, model)


async def _check_file(request: AnyRequest, file_id: str) -> None:
    found = await store_of(request).files.get(principal_of(request).key_id, file_id)
    if found is None or not files_of(request).place(found.id).is_file():
        raise NotFound(
            f"No file of yours has the id {file_id[:100]!r}. Upload one to /v1/files, with the purpose evals.",
            param="data_source.source.id",
            code="file_not_found",
        )


RUN_HANDLERS = [create_run, list_runs, get_run, cancel_run, delete_run]
