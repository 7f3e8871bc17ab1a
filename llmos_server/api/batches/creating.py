"""From a request to a batch that waits in the queue."""

from __future__ import annotations

import asyncio

import msgspec

from llmos_server.api.errors import NotFound
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.schemas.batches import CreateBatchRequest
from llmos_server.api.services import files_of, store_of
from llmos_server.batches.spec import ENDPOINTS, INPUT, WINDOW, WINDOW_SECONDS, BatchSpec
from llmos_server.errors import InvalidRequest
from llmos_server.files.job_folders import JobFolders, keep
from llmos_server.job_contracts import Job
from llmos_server.store.files import StoredFile
from llmos_server.store.objects import new_id, now_milliseconds


async def create(request: AnyRequest, data: CreateBatchRequest) -> Job:
    """Raises InvalidRequest, NotFound, Forbidden, StorageFull, StoreUnavailable."""
    if data.endpoint not in ENDPOINTS:
        raise InvalidRequest(
            f"endpoint is {data.endpoint[:100]!r}; batches are for {', '.join(ENDPOINTS)}.", param="endpoint"
        )
    if data.completion_window != WINDOW:
        raise InvalidRequest(f"completion_window is {WINDOW!r}.", param="completion_window", code="unsupported_value")
    file = await _find_input(request, data.input_file_id)
    await store_of(request).require_room(file.owner)
    created = now_milliseconds()
    spec = BatchSpec(
        endpoint=data.endpoint,
        input_file_id=file.id,
        expires=created + WINDOW_SECONDS * 1000,
        output_seconds=None if data.output_expires_after is None else data.output_expires_after.seconds,
        metadata=data.metadata,
    )
    job = Job(
        id=new_id("batch"),
        kind="batch",
        owner=file.owner,
        title=data.endpoint,
        payload=msgspec.json.encode(spec),
        created=created,
    )
    await _add(request, job, file)
    return job


async def _find_input(request: AnyRequest, file_id: str) -> StoredFile:
    found = await store_of(request).files.get(principal_of(request).key_id, file_id)
    if found is None:
        raise NotFound(f"No file of yours has the id {file_id[:100]!r}.", param="input_file_id", code="file_not_found")
    if found.purpose != "batch":
        raise InvalidRequest(
            f"The file {file_id!r} was uploaded for {found.purpose}; upload it with the purpose batch.",
            param="input_file_id",
        )
    if not files_of(request).place(found.id).is_file():
        raise NotFound(
            f"The content of {file_id!r} is not on this server's disk. Upload it again.",
            param="input_file_id",
            code="file_content_missing",
        )
    return found


async def _add(request: AnyRequest, job: Job, file: StoredFile) -> None:
    """With its input, which is there before the job is."""
    store = store_of(request)
    folders = JobFolders(store.database.home)

    def fill() -> None:
        keep(files_of(request).place(file.id), folders.make(job.id) / INPUT)

    try:
        await asyncio.to_thread(fill)
        await store.jobs.add(job)
    except BaseException:
        await asyncio.to_thread(folders.remove, job.id)
        raise
