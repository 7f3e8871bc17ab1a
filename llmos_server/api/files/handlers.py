"""/v1/files: what clients upload for tuning, batches and evaluations, and what these write."""

from __future__ import annotations

from urllib.parse import quote

from litestar import delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from litestar.response import File as FileResponse
from litestar.types import ASGIApp
from msgspec import UNSET

from llmos_server.api.agents.keeping import require_keeping
from llmos_server.api.errors import NotFound
from llmos_server.api.files.uploading import receive
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.common import ErrorResponse
from llmos_server.api.schemas.files import DeletedFile, File, FileList
from llmos_server.api.services import files_of, store_of
from llmos_server.api.stored.query import PAGE, check_names, read_page
from llmos_server.store.files import StoredFile

MAX_PAGE = 10_000
TAGS = ["Files"]
ERROR_SPECS = {status: ERRORS[status] for status in (400, 404, 503)}


@post(
    "/v1/files",
    status_code=200,
    request_max_body_size=None,
    tags=TAGS,
    summary="Upload a file",
    description="A form (multipart/form-data) with the parts file, purpose (fine-tune, batch, evals or user_data) and, "
    "if it shall go by itself, expires_after[anchor]=created_at and expires_after[seconds].",
    responses={
        200: ResponseSpec(File, description="It is kept."),
        507: ResponseSpec(ErrorResponse, description="The server's disk is full."),
        **{status: ERRORS[status] for status in (400, 503)},
    },
)
async def create_file(request: AnyRequest) -> ASGIApp:
    require_keeping(request)
    return json_response(request, describe(await receive(request)))


@get(
    "/v1/files",
    tags=TAGS,
    summary="Files of this key",
    description=f"purpose: only these. order: asc or desc, by age. limit: 1 to {MAX_PAGE}. after: an id, the last one "
    "of the page before.",
    responses={200: ResponseSpec(FileList, description="A page of them."), **ERROR_SPECS},
)
async def list_files(request: AnyRequest) -> ASGIApp:
    check_names(request, (*PAGE, "purpose"))
    page = read_page(request, default=MAX_PAGE, most=MAX_PAGE)
    found = await store_of(request).files.page(
        principal_of(request).key_id,
        purpose=request.query_params.get("purpose"),
        after=page.after,
        limit=page.limit,
        order=page.order,
    )
    data = [describe(file) for file in found.files]
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return json_response(request, FileList(data=data, first_id=first, last_id=last, has_more=found.has_more))


@get(
    "/v1/files/{file_id:str}",
    tags=TAGS,
    summary="A file, without its content",
    responses={200: ResponseSpec(File, description="What it is."), **ERROR_SPECS},
)
async def get_file(request: AnyRequest, file_id: FromPath[str]) -> ASGIApp:
    return json_response(request, describe(await find_file(request, file_id)))


@get(
    "/v1/files/{file_id:str}/content",
    tags=TAGS,
    summary="A file's content",
    responses={200: ResponseSpec(bytes, description="As it was sent.", media_type="application/octet-stream")}
    | ERROR_SPECS,
)
async def get_file_content(request: AnyRequest, file_id: FromPath[str]) -> FileResponse:
    found = await find_file(request, file_id)
    place = files_of(request).place(found.id)
    if not place.is_file():
        raise NotFound(
            f"The content of {found.id!r} is not on this server's disk: it was removed there, or uploaded to another "
            "server of the same database. Several servers need one LLMOS_HOME/files.",
            param="file_id",
            code="file_content_missing",
        )
    return FileResponse(
        place,
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.filename, safe='')}",
            "X-Content-Type-Options": "nosniff",
        },
    )


@delete(
    "/v1/files/{file_id:str}",
    status_code=200,
    tags=TAGS,
    summary="Delete a file",
    responses={200: ResponseSpec(DeletedFile, description="It was there, and is no more."), **ERROR_SPECS},
)
async def delete_file(request: AnyRequest, file_id: FromPath[str]) -> ASGIApp:
    if not await store_of(request).files.delete(principal_of(request).key_id, file_id):
        raise missing(file_id)
    await files_of(request).remove(file_id)
    return json_response(request, DeletedFile(id=file_id))


async def find_file(request: AnyRequest, file_id: str) -> StoredFile:
    """Raises NotFound for another key's, too."""
    found = await store_of(request).files.get(principal_of(request).key_id, file_id)
    if found is None:
        raise missing(file_id)
    return found


def missing(file_id: str) -> NotFound:
    return NotFound(f"No file of yours has the id {file_id!r}.", param="file_id", code="file_not_found")


def describe(found: StoredFile) -> File:
    return File(
        id=found.id,
        bytes=found.num_bytes,
        created_at=found.created // 1000,
        expires_at=UNSET if found.expires is None else found.expires // 1000,
        filename=found.filename,
        purpose=found.purpose,
        sha256=found.digest.removeprefix("sha256:"),
    )


FILE_HANDLERS = [create_file, list_files, get_file, get_file_content, delete_file]
