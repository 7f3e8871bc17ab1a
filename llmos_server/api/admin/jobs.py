"""/admin/v1/jobs: what the server works on beside answers: pulls, responses in the background, and what outlives
requests: tuning, batches, evaluations."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery
from litestar.types import ASGIApp

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.following import open_live, read_interval
from llmos_server.api.http.responses import ERRORS, json_bytes_response, json_response
from llmos_server.api.schemas.admin_jobs import JobDetails, JobInfo, JobList
from llmos_server.api.services import services_of
from llmos_server.api.stored.query import check_names, read_bool

Take = Callable[[], Awaitable[bytes]]

_STREAM = "With follow=true, server-sent events, the first one at once. interval: seconds between two, 0.1 to 60."


@get(
    "/admin/v1/jobs",
    guards=[require_admin],
    tags=["Administration"],
    summary="What is pulled and made in the background, and what was",
    description=f"{_STREAM} Events `jobs`.",
    responses={200: ResponseSpec(JobList, description="Those that haven't ended first, then the newest.")},
)
async def list_jobs(
    request: AnyRequest, follow: FromQuery[str | None] = None, interval: FromQuery[str | None] = None
) -> ASGIApp:
    jobs = services_of(request).all_jobs

    async def take() -> bytes:
        return msgspec.json.encode(JobList(data=[_without_log(job) for job in await jobs.list()]))

    return await _answer(request, "jobs", take, interval)


@get(
    "/admin/v1/jobs/{job_id:str}",
    guards=[require_admin],
    tags=["Administration"],
    summary="One job, with its last lines and what can be plotted",
    description=f"{_STREAM} Events `job`.",
    responses={200: ResponseSpec(JobDetails, description="As it is now."), 404: ERRORS[404]},
)
async def get_job(
    request: AnyRequest,
    job_id: FromPath[str],
    follow: FromQuery[str | None] = None,
    interval: FromQuery[str | None] = None,
) -> ASGIApp:
    jobs, name = services_of(request).all_jobs, str(job_id)
    await jobs.get(name)

    async def take() -> bytes:
        return msgspec.json.encode(await jobs.get(name))

    return await _answer(request, "job", take, interval)


@post(
    "/admin/v1/jobs/{job_id:str}/cancel",
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="End a job; a pull ends when its download lets it",
    responses={200: ResponseSpec(JobDetails, description="As it is then."), 400: ERRORS[400], 404: ERRORS[404]},
)
async def cancel_job(request: AnyRequest, job_id: FromPath[str]) -> ASGIApp:
    return json_response(request, await services_of(request).all_jobs.cancel(str(job_id)))


@post(
    "/admin/v1/jobs/{job_id:str}/pause",
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Have a job stop at its next step, and keep what it has done; of those that say can_pause",
    responses={200: ResponseSpec(JobDetails, description="As it is then."), 400: ERRORS[400], 404: ERRORS[404]},
)
async def pause_job(request: AnyRequest, job_id: FromPath[str]) -> ASGIApp:
    return json_response(request, await services_of(request).all_jobs.pause(str(job_id)))


@post(
    "/admin/v1/jobs/{job_id:str}/resume",
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Have a paused job go on",
    responses={200: ResponseSpec(JobDetails, description="As it is then."), 400: ERRORS[400], 404: ERRORS[404]},
)
async def resume_job(request: AnyRequest, job_id: FromPath[str]) -> ASGIApp:
    return json_response(request, await services_of(request).all_jobs.resume(str(job_id)))


async def _answer(request: AnyRequest, name: str, take: Take, interval: str | None) -> ASGIApp:
    """name: of a stream's events. take: the answer as it is now, JSON."""
    check_names(request, ("follow", "interval"))
    if not read_bool(request, "follow"):
        return json_bytes_response(request, await take())
    return open_live(request, name, take, read_interval(interval))


def _without_log(job: JobDetails) -> JobInfo:
    return JobInfo(**{name: getattr(job, name) for name in JobInfo.__struct_fields__})
