"""/v1/fine_tuning/jobs: from a file of examples to a model that is served, by OpenAI's API."""

from __future__ import annotations

from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from llmos_server.api.agents.keeping import require_keeping
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.errors import NotFound
from llmos_server.api.fine_tuning.creating import create
from llmos_server.api.fine_tuning.describing import describe, describe_checkpoints
from llmos_server.api.fine_tuning.events import open_events, page_of_events
from llmos_server.api.fine_tuning.fields import CREATE_JOB
from llmos_server.api.fine_tuning.listing import MAX_PAGE, MetadataFilter, page_behind, page_of_jobs
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.common import ErrorResponse
from llmos_server.api.schemas.fine_tuning import (
    CreateFineTuningJobRequest,
    FineTuningCheckpointList,
    FineTuningEventList,
    FineTuningJob,
    FineTuningJobList,
)
from llmos_server.api.services import store_of
from llmos_server.api.stored.query import check_names, read_bool, read_page
from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import Job, JobStatus

TAGS = ["Fine-tuning"]
ERROR_SPECS = {status: ERRORS[status] for status in (400, 404, 503)}
OK = {200: ResponseSpec(FineTuningJob, description="The job, as it is then."), **ERROR_SPECS}


class CreateFineTuningJobBody(WireBody[CreateFineTuningJobRequest]):
    table = CREATE_JOB


@post(
    "/v1/fine_tuning/jobs",
    dto=CreateFineTuningJobBody,
    return_dto=None,
    status_code=200,
    tags=TAGS,
    summary="Tune a model on a file of examples",
    description="The file is checked line by line first. The result is a name that answers at once.",
    responses={**OK, 507: ResponseSpec(ErrorResponse, description="The server's disk is full.")},
)
async def create_fine_tuning_job(request: AnyRequest, data: JSONBody[CreateFineTuningJobRequest]) -> ASGIApp:
    require_keeping(request)
    return json_response(request, describe(await create(request, data)))


@get(
    "/v1/fine_tuning/jobs",
    tags=TAGS,
    summary="Fine-tuning jobs of this key",
    description=f"The newest first. limit: 1 to {MAX_PAGE}. after: an id, the last one of the page before. "
    "metadata[name]=value: only these; metadata=null: those without.",
    responses={200: ResponseSpec(FineTuningJobList, description="A page of them."), **ERROR_SPECS},
)
async def list_fine_tuning_jobs(request: AnyRequest) -> ASGIApp:
    chosen = MetadataFilter(request)
    page = read_page(request)
    owner = principal_of(request).key_id
    found, has_more = await page_of_jobs(store_of(request).jobs, owner, chosen, page.after, page.limit)
    return json_response(request, FineTuningJobList(data=[describe(job) for job in found], has_more=has_more))


@get("/v1/fine_tuning/jobs/{job_id:str}", tags=TAGS, summary="A fine-tuning job", responses=OK)
async def get_fine_tuning_job(request: AnyRequest, job_id: FromPath[str]) -> ASGIApp:
    return json_response(request, describe(await find_job(request, job_id)))


@post(
    "/v1/fine_tuning/jobs/{job_id:str}/cancel",
    status_code=200,
    tags=TAGS,
    summary="End a fine-tuning job",
    description="Within a step. Its checkpoints stay.",
    responses=OK,
)
async def cancel_fine_tuning_job(request: AnyRequest, job_id: FromPath[str]) -> ASGIApp:
    job = await find_job(request, job_id)
    _require(job, ("queued", "running", "paused"), "be cancelled")
    return json_response(request, describe(await store_of(request).jobs.wish(job.owner, job.id, "cancel") or job))


@post(
    "/v1/fine_tuning/jobs/{job_id:str}/pause",
    status_code=200,
    tags=TAGS,
    summary="Let a fine-tuning job wait",
    description="Within a step, which is kept as a checkpoint to go on from.",
    responses=OK,
)
async def pause_fine_tuning_job(request: AnyRequest, job_id: FromPath[str]) -> ASGIApp:
    job = await find_job(request, job_id)
    _require(job, ("queued", "running"), "be paused")
    return json_response(request, describe(await store_of(request).jobs.wish(job.owner, job.id, "pause") or job))


@post(
    "/v1/fine_tuning/jobs/{job_id:str}/resume",
    status_code=200,
    tags=TAGS,
    summary="Let a paused fine-tuning job go on",
    responses=OK,
)
async def resume_fine_tuning_job(request: AnyRequest, job_id: FromPath[str]) -> ASGIApp:
    job = await find_job(request, job_id)
    if not (job.status == "running" and job.wish == "pause"):
        _require(job, ("paused",), "be resumed")
    return json_response(request, describe(await store_of(request).jobs.resume(job.owner, job.id) or job))


@get(
    "/v1/fine_tuning/jobs/{job_id:str}/events",
    tags=TAGS,
    summary="What a fine-tuning job has told",
    description=f"The newest first. limit: 1 to {MAX_PAGE}. after: an id, the last one of the page before. "
    "With stream=true, server-sent events from the oldest on (or the one behind after), until [DONE] at the job's end.",
    responses={200: ResponseSpec(FineTuningEventList, description="A page of them."), **ERROR_SPECS},
)
async def list_fine_tuning_events(request: AnyRequest, job_id: FromPath[str]) -> ASGIApp:
    check_names(request, ("after", "limit", "stream"))
    page, job, store = read_page(request), await find_job(request, job_id), store_of(request)
    if read_bool(request, "stream"):
        return open_events(request, store, job, page.after)
    return json_response(request, await page_of_events(store, job, page.after, page.limit))


@get(
    "/v1/fine_tuning/jobs/{job_id:str}/checkpoints",
    tags=TAGS,
    summary="States of a fine-tuning job that answer under names of their own",
    description=f"The newest first. limit: 1 to {MAX_PAGE}. after: an id, the last one of the page before.",
    responses={200: ResponseSpec(FineTuningCheckpointList, description="A page of them."), **ERROR_SPECS},
)
async def list_fine_tuning_checkpoints(request: AnyRequest, job_id: FromPath[str]) -> ASGIApp:
    check_names(request, ("after", "limit"))
    page = read_page(request, default=10)
    found = describe_checkpoints(await find_job(request, job_id))
    data, has_more = page_behind(found, [one.id for one in found], page.after, page.limit)
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return json_response(request, FineTuningCheckpointList(data=data, first_id=first, last_id=last, has_more=has_more))


async def find_job(request: AnyRequest, job_id: str) -> Job:
    """Raises NotFound for another key's, too."""
    found = await store_of(request).jobs.get(principal_of(request).key_id, job_id, "tune")
    if found is None:
        raise NotFound(
            f"No fine-tuning job of yours has the id {job_id[:100]!r}.",
            param="fine_tuning_job_id",
            code="job_not_found",
        )
    return found


def _require(job: Job, statuses: tuple[JobStatus, ...], what: str) -> None:
    if job.status not in statuses:
        raise InvalidRequest(
            f"A job that is {job.status} can't {what}.", param="fine_tuning_job_id", code="invalid_job_status"
        )


FINE_TUNING_HANDLERS = [
    create_fine_tuning_job,
    list_fine_tuning_jobs,
    get_fine_tuning_job,
    cancel_fine_tuning_job,
    pause_fine_tuning_job,
    resume_fine_tuning_job,
    list_fine_tuning_events,
    list_fine_tuning_checkpoints,
]
