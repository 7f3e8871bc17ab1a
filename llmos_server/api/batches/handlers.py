"""/v1/batches: a file of requests in, a file of answers out, beside live traffic."""

from __future__ import annotations

from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from llmos_server.api.agents.keeping import require_keeping
from llmos_server.api.batches.creating import create
from llmos_server.api.batches.describing import describe
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.bodies.field_rules import Table, honoured
from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.batches import Batch, BatchList, CreateBatchRequest
from llmos_server.api.services import store_of
from llmos_server.api.stored.query import check_names, read_page
from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import ENDED, Job

CREATE_BATCH: Table = {
    "input_file_id": honoured("a file with the purpose batch: a JSON object a line, with custom_id, method, url, body"),
    "endpoint": honoured("the url of all its lines"),
    "completion_window": honoured("24h"),
    "metadata": honoured("up to 16 texts of up to 512 characters, under names of up to 64"),
    "output_expires_after": honoured(
        "its files go by themselves",
        nested={"anchor": honoured("created_at"), "seconds": honoured("3600 to 2592000")},
    ),
}
_TAGS = ["Batches"]
_ERRORS = {status: ERRORS[status] for status in (400, 404, 503)}
_OK = {200: ResponseSpec(Batch, description="As it is then."), **_ERRORS}


class BatchBody(WireBody[CreateBatchRequest]):
    table = CREATE_BATCH


@post(
    "/v1/batches",
    dto=BatchBody,
    return_dto=None,
    status_code=200,
    tags=_TAGS,
    summary="Have a file of requests answered",
    description="Its requests are asked as those of this key, after all others' requests.",
    responses=_OK,
)
async def create_batch(request: AnyRequest, data: JSONBody[CreateBatchRequest]) -> ASGIApp:
    require_keeping(request)
    return json_response(request, describe(await create(request, data)))


@get(
    "/v1/batches",
    tags=_TAGS,
    summary="Batches of this key, the newest first",
    description="limit: 1 to 100. after: an id, the last one of the page before.",
    responses={200: ResponseSpec(BatchList, description="A page of them."), **_ERRORS},
)
async def list_batches(request: AnyRequest) -> ASGIApp:
    check_names(request, ("after", "limit"))
    page = read_page(request)
    owner = principal_of(request).key_id
    found = await store_of(request).jobs.page(owner, kinds=["batch"], after=page.after, limit=page.limit)
    data = [describe(job) for job in found.jobs]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return json_response(request, BatchList(data=data, first_id=first, last_id=last, has_more=found.has_more))


@get("/v1/batches/{batch_id:str}", tags=_TAGS, summary="A batch", responses=_OK)
async def get_batch(request: AnyRequest, batch_id: FromPath[str]) -> ASGIApp:
    return json_response(request, describe(await _find(request, batch_id)))


@post(
    "/v1/batches/{batch_id:str}/cancel",
    status_code=200,
    tags=_TAGS,
    summary="Cancel a batch; what was answered is kept, in its output file",
    responses=_OK,
)
async def cancel_batch(request: AnyRequest, batch_id: FromPath[str]) -> ASGIApp:
    job = await _find(request, batch_id)
    if job.status in ENDED and job.status != "cancelled":
        status = describe(job).status
        raise InvalidRequest(f"The batch has ended: it is {status}.", param="batch_id", code="batch_has_ended")
    return json_response(request, describe(await store_of(request).jobs.wish(job.owner, job.id, "cancel") or job))


async def _find(request: AnyRequest, batch_id: str) -> Job:
    """Raises NotFound for another key's, too."""
    found = await store_of(request).jobs.get(principal_of(request).key_id, batch_id, "batch")
    if found is None:
        raise NotFound(f"No batch of yours has the id {batch_id[:100]!r}.", param="batch_id", code="batch_not_found")
    return found


BATCH_HANDLERS = [create_batch, list_batches, get_batch, cancel_batch]
