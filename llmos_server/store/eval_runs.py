"""Runs of evaluations. How far a run is, is its job's to tell, which has the same id; what came of it stays here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Select, case, delete, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import Job, JobError, Read, Write
from llmos_server.settings import StorageSettings
from llmos_server.store.database import Database
from llmos_server.store.eval_tables import EvalRow, EvalRunRow
from llmos_server.store.evals import behind, in_order
from llmos_server.store.job_tables import JobRow
from llmos_server.store.jobs import JobRepository
from llmos_server.store.objects import can_be_id, check_size, from_text, num_bytes, to_text
from llmos_server.store.quota import Quota

_ROW = EvalRunRow
RunStatus = Literal["queued", "in_progress", "completed", "failed", "canceled"]
STATUSES: dict[str, RunStatus] = {
    "queued": "queued",
    "paused": "queued",
    "running": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "canceled",
}
"""By the job's."""
JOB_IS_GONE = JobError("job_removed", "The run didn't come to its end, and its job was removed: make another run.")


class StoredRun(msgspec.Struct, frozen=True, kw_only=True):
    owner: str
    id: str
    eval_id: str
    name: str
    model: str
    """"" where the answers are given."""
    content: dict[str, Any]
    """data_source and metadata."""
    created: int
    """Unix milliseconds."""
    status: RunStatus = "queued"
    result: dict[str, Any] | None = None
    """So far, or in the end."""
    error: JobError | None = None
    progress: float | None = None


class RunPage(msgspec.Struct, frozen=True):
    runs: list[StoredRun]
    has_more: bool


class EvalRunRepository:
    """Whose it is comes first, always; what is another owner's isn't there."""

    def __init__(self, database: Database, settings: StorageSettings, quota: Quota, jobs: JobRepository) -> None:
        self._database = database
        self._quota = quota
        self._jobs = jobs
        self._max_bytes = settings.max_object_bytes

    async def add(self, run: StoredRun, job: Job) -> None:
        """With its job, in one transaction. Raises InvalidRequest when it is too large to be kept, and Forbidden when
        the owner has stored too much, or has too many jobs."""
        text = to_text(run.content)
        size = num_bytes(text)
        remedy = "Upload the items to /v1/files, and name the file's id."
        check_size("The run", size, self._max_bytes, param="data_source", remedy=remedy)
        values = {"name": run.name, "model": run.model, "content": text, "num_bytes": size, "created": run.created}

        async def write(connection: AsyncConnection) -> None:
            await self._quota.check(connection, run.owner, size)
            row = insert(_ROW).values(owner=run.owner, id=run.id, eval_id=run.eval_id, **values)
            await connection.execute(row)

        await self._jobs.add(job, write)

    async def get(self, owner: str, eval_id: str, run_id: str) -> StoredRun | None:
        if not can_be_id(run_id):
            return None
        async with self._database.read() as connection:
            query = _joined(owner, eval_id).where(_ROW.id == run_id)
            row = (await connection.execute(query)).first()
        return None if row is None else _to_run(row)

    async def page(
        self, owner: str, eval_id: str, *, after: str | None, limit: int, order: str, status: RunStatus | None = None
    ) -> RunPage:
        """By age. after: the id of the last one of the page before. order: "asc" or "desc". Raises InvalidRequest for
        an unknown `after`."""
        query = _joined(owner, eval_id)
        if status is not None:
            query = query.where(_status() == status)
        if after is not None:
            last = await self.get(owner, eval_id, after)
            if last is None:
                raise InvalidRequest(f"There is no run {after[:100]!r} here.", param="after", code="run_not_found")
            query = query.where(behind(_ROW.created, _ROW.id, last.created, last.id, order))
        query = query.order_by(*in_order((_ROW.created, _ROW.id), order)).limit(limit + 1)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return RunPage([_to_run(row) for row in rows[:limit]], has_more=len(rows) > limit)

    async def ids(self, owner: str, eval_id: str) -> list[str]:
        async with self._database.read() as connection:
            found = await connection.execute(select(_ROW.id).where(_ROW.owner == owner, _ROW.eval_id == eval_id))
            return list(found.scalars())

    async def delete(self, owner: str, eval_id: str, run_id: str) -> bool:
        """With what came of its items. Whether it was there."""
        if not can_be_id(run_id):
            return False
        gone = delete(_ROW).where(_ROW.owner == owner, _ROW.eval_id == eval_id, _ROW.id == run_id)
        async with self._database.write() as connection:
            done = await connection.execute(gone)
        self._database.note_deletion()
        return done.rowcount > 0


def ending_run(owner: str, run_id: str, result: Mapping[str, Any]) -> Write:
    """What came of the run."""
    text = to_text(result)
    change = update(_ROW).where(_ROW.owner == owner, _ROW.id == run_id)
    change = change.values(result=text, num_bytes=_ROW.num_bytes + num_bytes(text))

    async def write(connection: AsyncConnection) -> None:
        await connection.execute(change)

    return write


def reading_run(owner: str, run_id: str) -> Read[tuple[str, str, dict[str, Any], dict[str, Any]] | None]:
    """For its job: eval_id, model, and the contents of the run and of its eval. None: it was deleted."""
    query = select(_ROW.eval_id, _ROW.model, _ROW.content, EvalRow.content.label("measured"))
    query = query.join(EvalRow, (EvalRow.id == _ROW.eval_id) & (EvalRow.owner == _ROW.owner))
    query = query.where(_ROW.owner == owner, _ROW.id == run_id)

    async def read(connection: AsyncConnection) -> tuple[str, str, dict[str, Any], dict[str, Any]] | None:
        row = (await connection.execute(query)).first()
        return None if row is None else (row.eval_id, row.model, from_text(row.content), from_text(row.measured))

    return read


def _joined(owner: str, eval_id: str) -> Select[Any]:
    columns = (*_ROW.__table__.columns, _status().label("status"), JobRow.progress, JobRow.error)
    query: Select[Any] = select(*columns, JobRow.result.label("so_far"))
    query = query.outerjoin(JobRow, (JobRow.id == _ROW.id) & (JobRow.owner == _ROW.owner))
    return query.where(_ROW.owner == owner, _ROW.eval_id == eval_id)


def _status() -> ColumnElement[str]:
    of_job = case(STATUSES, value=JobRow.status, else_=literal("failed"))
    return case((_ROW.result.is_not(None), literal("completed")), else_=func.coalesce(of_job, "failed"))


def _to_run(row: Any) -> StoredRun:
    status: RunStatus = row.status
    so_far = None if row.so_far is None else msgspec.json.decode(row.so_far)
    error = None if row.error is None else msgspec.convert(row.error, JobError)
    return StoredRun(
        owner=row.owner,
        id=row.id,
        eval_id=row.eval_id,
        name=row.name,
        model=row.model,
        content=from_text(row.content),
        created=row.created,
        status=status,
        result=so_far if row.result is None else from_text(row.result),
        error=error or (JOB_IS_GONE if status == "failed" else None),
        progress=row.progress,
    )
