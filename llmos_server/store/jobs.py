"""Jobs, as whoever wants them done sees them: added, looked at, cancelled, paused and resumed."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import msgspec
from sqlalchemy import Select, and_, delete, func, insert, or_, select, update

from llmos_server.errors import Forbidden, InvalidRequest
from llmos_server.job_contracts import ENDED, Job, JobKind, JobStatus, Wish, Write
from llmos_server.store.database import Database
from llmos_server.store.job_rows import COLUMNS, IDLE, JOBS, KEEPS_PARTS, as_values, to_job
from llmos_server.store.job_tables import JobRow
from llmos_server.store.objects import can_be_id, now_milliseconds
from llmos_server.store.owners import EVERYBODY, Owner, of_owner


class JobPage(msgspec.Struct, frozen=True):
    jobs: list[Job]
    has_more: bool


class JobRepository:
    """Whose it is comes first, always; what is another owner's isn't there."""

    def __init__(self, database: Database, max_per_key: int = 0) -> None:
        """max_per_key: of one owner that haven't ended; 0 sets no limit."""
        self._database = database
        self._max_per_key = max_per_key
        self._on_change: Callable[[], None] = lambda: None

    def listen(self, on_change: Callable[[], None]) -> None:
        """on_change: called when a job of this process's making, or a wish, waits for somebody to do it."""
        self._on_change = on_change

    async def add(self, job: Job, *writes: Write) -> None:
        """writes: what comes with it, in the same transaction, and before it. Raises Forbidden when its owner has too
        many that haven't ended."""
        waiting = select(func.count()).where(JobRow.owner == job.owner, JobRow.status.not_in(ENDED))
        async with self._database.write() as connection:
            number = int((await connection.execute(waiting)).scalar_one())
            if self._max_per_key and number >= self._max_per_key:
                raise Forbidden(
                    f"This key has {number} jobs that haven't ended, and may have {self._max_per_key} (the setting "
                    "jobs.max_per_key). Wait for one of them, or cancel it.",
                    code="too_many_jobs",
                )
            for write in writes:
                await write(connection)
            await connection.execute(insert(JobRow).values(**as_values(job)))
        self._on_change()

    async def get(self, owner: Owner, job_id: str, kind: JobKind | None = None) -> Job | None:
        if not can_be_id(job_id):
            return None
        query = _one(owner, job_id)
        row = await self._database.first(query if kind is None else query.where(JobRow.kind == kind))
        return None if row is None else to_job(row)

    async def page(
        self,
        owner: Owner,
        *,
        kinds: Collection[JobKind] = (),
        statuses: Collection[JobStatus] = (),
        after: str | None = None,
        limit: int,
        order: str = "desc",
    ) -> JobPage:
        """By age. kinds, statuses: none is all. after: the id of the last one of the page before. order: "asc" or
        "desc". Raises InvalidRequest for an unknown `after`."""
        query = of_owner(JOBS, JobRow, owner)
        if kinds:
            query = query.where(JobRow.kind.in_(kinds))
        if statuses:
            query = query.where(JobRow.status.in_(statuses))
        if after is not None:
            last = await self.get(owner, after)
            if last is None:
                raise InvalidRequest(f"There is no job {after[:100]!r} here.", param="after", code="job_not_found")
            query = query.where(_is_behind(last, order))
        ages = (JobRow.created, JobRow.id)
        query = query.order_by(*(ages if order == "asc" else [age.desc() for age in ages])).limit(limit + 1)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return JobPage([to_job(row) for row in rows[:limit]], has_more=len(rows) > limit)

    async def wish(self, owner: Owner, job_id: str, wish: Wish) -> Job | None:
        """As it is then: one that waits is paused or cancelled at once, one that runs is asked to. Nothing becomes of
        one that has ended; nor of a pause of one that will be cancelled. None: there is no such job."""
        if not can_be_id(job_id):
            return None
        async with self._database.write() as connection:
            row = (await connection.execute(_one(owner, job_id).with_for_update())).first()
            if row is None:
                return None
            job = to_job(row)
            values = _wished(job, wish, now_milliseconds())
            if values:
                changed = update(JobRow).where(JobRow.id == job_id).values(**values).returning(*COLUMNS)
                job = to_job((await connection.execute(changed)).one())
        self._on_change()
        return job

    async def resume(self, owner: Owner, job_id: str) -> Job | None:
        """As it is then: one that was paused waits again, one that was asked to pause is not any more. None: there is
        no such job."""
        if not can_be_id(job_id):
            return None
        ids: Select[Any] = select(JobRow.id).where(JobRow.id == job_id)
        one = of_owner(ids, JobRow, owner)
        waits = {**IDLE, "status": "queued", "attempts": 0, "not_before": 0}
        paused = update(JobRow).where(JobRow.id.in_(one), JobRow.status == "paused").values(**waits)
        asked = update(JobRow).where(JobRow.id.in_(one), JobRow.status == "running", JobRow.wish == "pause")
        async with self._database.write() as connection:
            await connection.execute(paused)
            await connection.execute(asked.values(wish=""))
        self._on_change()
        return await self.get(owner, job_id)

    async def remove(self, owner: Owner, before: int | None, limit: int) -> list[tuple[str, int]]:
        """At most `limit`, with their events: ids and bytes of those that went. before: those that ended before that
        Unix millisecond; None: all, and what runs ends when it finds that it is gone. Their folders are the caller's
        to remove, after this."""
        ids: Select[Any] = select(JobRow.id)
        old = _removable(ids, owner, before).order_by(JobRow.created).limit(limit)
        gone = delete(JobRow).where(JobRow.id.in_(old)).returning(JobRow.id, _size())
        async with self._database.write() as connection:
            rows = (await connection.execute(gone)).all()
        if rows:
            self._database.note_deletion()
        return [(job_id, int(size)) for job_id, size in rows]

    async def remove_before(self, ended: int, limit: int) -> list[str]:
        """Ids of at most `limit` that ended before that Unix millisecond and went, whoever's."""
        return [job_id for job_id, _ in await self.remove(EVERYBODY, ended, limit)]

    async def count(self, owner: Owner, before: int | None) -> tuple[int, int]:
        """How many remove() would take in all, and their bytes."""
        query = _removable(select(func.count(), func.coalesce(func.sum(_size()), 0)), owner, before)
        async with self._database.read() as connection:
            number, size = (await connection.execute(query)).one()
        return number, int(size)

    async def all_ids(self) -> set[str]:
        async with self._database.read() as connection:
            return set((await connection.execute(select(JobRow.id))).scalars())


def _one(owner: Owner, job_id: str) -> Any:
    return of_owner(JOBS.where(JobRow.id == job_id), JobRow, owner)


def _wished(job: Job, wish: Wish, now: int) -> dict[str, Any]:
    """What changes."""
    if job.status == "running" and job.wish != "cancel":
        return {"wish": wish}
    if wish == "cancel" and job.status in ("queued", "paused") and job.kind in KEEPS_PARTS and job.epoch:
        return {"status": "queued", "wish": "cancel", "not_before": 0}
    if wish == "cancel" and job.status in ("queued", "paused"):
        return {**IDLE, "status": "cancelled", "ended": now, "detail": ""}
    if wish == "pause" and job.status == "queued" and not job.wish:
        return {**IDLE, "status": "paused", "detail": ""}
    return {}


def _is_behind(last: Job, order: str) -> Any:
    same_age = JobRow.created == last.created
    if order == "asc":
        return or_(JobRow.created > last.created, and_(same_age, JobRow.id > last.id))
    return or_(JobRow.created < last.created, and_(same_age, JobRow.id < last.id))


def _removable(query: Select[Any], owner: Owner, before: int | None) -> Select[Any]:
    query = of_owner(query, JobRow, owner)
    return query if before is None else query.where(JobRow.ended < before)


def _size() -> Any:
    return func.length(JobRow.payload) + func.coalesce(func.length(JobRow.result), 0)
