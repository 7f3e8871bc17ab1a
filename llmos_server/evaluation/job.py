"""A run as a job: what is done is written some items at a time, so that a second attempt asks for the others alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.errors import EngineBusy, InvalidRequest
from llmos_server.evaluation.asking import HttpModels, ModelRefused, TokenUsage
from llmos_server.evaluation.graders.create import Means, create_graders
from llmos_server.evaluation.graders.spec import GraderSpec
from llmos_server.evaluation.rows import Rows
from llmos_server.evaluation.running import Evaluated, Evaluator
from llmos_server.evaluation.sampling import create_sampler
from llmos_server.evaluation.sandboxing import GraderSandbox
from llmos_server.evaluation.snapshot import Snapshot, remove_snapshot
from llmos_server.evaluation.sources import DataSource, FileContent, FileId, Row, StoredResponses
from llmos_server.evaluation.tally import Tally
from llmos_server.files.folder import FileFolder
from llmos_server.job_contracts import JobContext, JobFailed
from llmos_server.store.eval_items import ROWS_AT_ONCE, StoredItem, adding_items, reading_page
from llmos_server.store.eval_runs import ending_run, reading_run
from llmos_server.store.objects import num_bytes, to_text
from llmos_server.store.quota import Quota

ITEMS_AT_ONCE = 50
SECONDS_AT_ONCE = 1.0
"""What is done is written when it is so many, or so long ago."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, from the database."""

    eval_id: str
    model: str
    source: DataSource
    criteria: list[GraderSpec]
    item_schema: dict[str, Any]
    metadata: dict[str, Any]
    """Of stored responses, where the eval is of such."""


def run(context: JobContext) -> None:
    """The code of jobs of the kind "eval", whose id is the run's."""
    wanted = read_wanted(context)
    try:
        asyncio.run(_run(context, wanted))
    except InvalidRequest as error:
        raise JobFailed(str(error), code=error.code or "invalid_value", param=error.param) from None
    except ModelRefused as error:
        if error.is_transient:
            raise EngineBusy(str(error)) from None
        raise JobFailed(str(error), code=error.code or "model_refused", param="data_source.model") from None


def read_wanted(context: JobContext) -> Wanted:
    """Raises JobFailed."""
    found = context.read(reading_run(context.job.owner, context.job.id))
    if found is None:
        raise JobFailed("The run was deleted.", code="run_deleted")
    eval_id, model, content, measured = found
    config = measured["data_source_config"]
    return Wanted(
        eval_id=eval_id,
        model=model,
        source=msgspec.convert(content["data_source"], DataSource),
        criteria=msgspec.convert(measured["testing_criteria"], list[GraderSpec]),
        item_schema=config["schema"]["properties"].get("item", {}),
        metadata=config.get("metadata") or {},
    )


async def _run(context: JobContext, wanted: Wanted) -> None:
    rows, number = await asyncio.to_thread(_open_rows, context, wanted)
    headers = {"Authorization": f"Bearer {context.server.key}"}
    async with httpx2.AsyncClient(base_url=context.server.base_url, headers=headers, timeout=None) as http:
        models = HttpModels(http)
        sandbox = await asyncio.to_thread(GraderSandbox(context.settings.evals).open)
        graders = create_graders(wanted.criteria, Means(models, sandbox))
        evaluator = Evaluator(
            wanted.source, create_sampler(wanted.source, models), graders, context.settings.evals.concurrency
        )
        book = _Book(context, Tally(grader.name for grader in graders), number)
        await asyncio.to_thread(book.read_back)
        before = await find_digest(models, wanted.model)
        try:
            await evaluator.run(book.left(rows), book.add)
        finally:
            await asyncio.to_thread(book.write)
        if await find_digest(models, wanted.model) != before:
            raise JobFailed(
                f"The model {wanted.model} was replaced by another while it was measured. Make the run again.",
                code="model_changed",
            )
    result = msgspec.to_builtins(book.tally.result(before))
    context.finish(result, ending_run(context.job.owner, context.job.id, result))
    remove_snapshot(context)


def _open_rows(context: JobContext, wanted: Wanted) -> tuple[Rows, int]:
    """The items, all of them checked, and how many. Raises InvalidRequest."""
    context.progress(0.0, "checking the items")
    source = wanted.source.source
    match source:
        case FileContent():
            rows = Rows(source.content)
        case FileId():
            rows = Rows(_find_file(context, source.id))
        case StoredResponses():
            rows = Rows(Snapshot(context, source, wanted.metadata).take())
    return rows, rows.check(wanted.item_schema, context.check)


async def find_digest(models: HttpModels, model: str) -> str | None:
    """Of a model's weights, an adapter's included. None where nobody is asked, or the server knows none."""
    if not model:
        return None
    digest = (await models.get(f"/v1/models/{model}")).get("digest")
    return None if digest is None else str(digest)


class _Book:
    """What came of the items: counted, and written some at a time."""

    def __init__(self, context: JobContext, tally: Tally, number: int) -> None:
        self.tally = tally
        self._context = context
        self._number = number
        self._quota = Quota(context.settings.storage.max_key_bytes)
        self._done: set[int] = set()
        self._unwritten: list[StoredItem] = []
        self._written = time.monotonic()

    def read_back(self) -> None:
        """What attempts before this one have done."""
        job, after = self._context.job, None
        while True:
            items = self._context.read(reading_page(job.owner, job.id, after))
            for item in items:
                self._count(item)
            if len(items) < ROWS_AT_ONCE:
                return
            after = items[-1].position

    def left(self, rows: Rows) -> Iterator[tuple[int, Row]]:
        return ((place, row) for place, row in rows if place not in self._done)

    async def add(self, done: Evaluated) -> None:
        """Raises what the job's check() does."""
        self._context.check()
        content = {
            "datasource_item": done.item,
            "sample": done.sample,
            "results": done.results,
            "usage": msgspec.to_builtins(done.usage),
        }
        item = StoredItem(run_id=self._context.job.id, position=done.position, status=done.status, content=content)
        self._count(item)
        self._unwritten.append(item)
        is_late = time.monotonic() - self._written > SECONDS_AT_ONCE
        if is_late or len(self._unwritten) >= ITEMS_AT_ONCE:
            await asyncio.to_thread(self.write)

    def write(self) -> None:
        job, items = self._context.job, self._unwritten
        size = sum(num_bytes(to_text(item.content)) for item in items)

        async def check_quota(connection: AsyncConnection) -> None:
            await self._quota.check(connection, job.owner, size)

        self._context.checkpoint(check_quota, adding_items(job.owner, items))
        self._unwritten, self._written = [], time.monotonic()
        share, told = len(self._done) / self._number, f"{len(self._done)} of {self._number} items"
        self._context.progress(share, told, self.tally.result())

    def _count(self, item: StoredItem) -> None:
        self._done.add(item.position)
        usage = msgspec.convert(item.content["usage"], list[TokenUsage])
        self.tally.add(item.status, item.content["results"], usage)


def _find_file(context: JobContext, file_id: str) -> Path:
    """Raises InvalidRequest."""
    place = FileFolder(context.settings.home).place(file_id)
    if not place.is_file():
        raise InvalidRequest(
            f"The file {file_id!r} was deleted before the run could read it.",
            param="data_source.source.id",
            code="file_not_found",
        )
    return place
