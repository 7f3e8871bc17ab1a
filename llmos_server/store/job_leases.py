"""Jobs, as whoever does them sees them: claimed by one server at a time, and written by one run at a time.

A run holds a job as long as the row says that it is running in the run's epoch. Every write asks for that in its own
transaction, so that what a run writes that was given up, and lives on, changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from llmos_server.job_contracts import Job, JobError, JobEvent, JobKind, LeaseLost, Wish, Write
from llmos_server.store.database import Database
from llmos_server.store.job_rows import COLUMNS, IDLE, JOBS, after_loss, failure, to_job
from llmos_server.store.job_tables import JobEventRow, JobRow

CLAIM_LOCK = 0x6C6C6A6F
"""Of PostgreSQL's advisory locks; "lljo" in ASCII."""


class Hold(msgspec.Struct, frozen=True):
    """A run of a job: which, and in which epoch."""

    job_id: str
    owner: str
    epoch: int


def hold_of(job: Job) -> Hold:
    return Hold(job.id, job.owner, job.epoch)


class JobLeases:
    """All times are Unix milliseconds, of the caller's clock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_any_waiting(self, kinds: Collection[JobKind], now: int) -> bool:
        """Whether claim() may find one: asked often, so it doesn't take part in the writers' turns."""
        return await self._database.first(_waiting(kinds, now).limit(1)) is not None

    async def claim(self, runner: str, kinds: Collection[JobKind], now: int, lease: int) -> Job | None:
        """The next one of these kinds that waits: it is this server's now, in a new epoch, for so many milliseconds.
        None: there is none."""
        async with self._database.write() as connection:
            await self._take_turns(connection)
            found = (await connection.execute(_next(kinds, now))).first()
            if found is None:
                return None
            claimed = (
                update(JobRow)
                .where(JobRow.id == found.id, JobRow.epoch == found.epoch, JobRow.status == "queued")
                .values(
                    status="running",
                    detail="",
                    runner=runner,
                    lease_until=now + lease,
                    epoch=JobRow.epoch + 1,
                    attempts=JobRow.attempts + 1,
                    started=func.coalesce(JobRow.started, now),
                )
                .returning(*COLUMNS)
            )
            row = (await connection.execute(claimed)).first()
        return None if row is None else to_job(row)

    async def tell_waiting(self, kinds: Collection[JobKind], detail: str, now: int) -> None:
        """Say of all that claim() might find why they aren't begun."""
        untold = _waiting(kinds, now).where(JobRow.detail != detail)
        if await self._database.first(untold.limit(1)) is not None:
            ids = untold.with_only_columns(JobRow.id)
            async with self._database.write() as connection:
                change = update(JobRow).where(JobRow.id.in_(ids), JobRow.status == "queued")
                await connection.execute(change.values(detail=detail))

    async def wish_of(self, hold: Hold) -> Wish:
        """What the job is asked for. Raises LeaseLost when it is another run's, or nobody's."""
        row = await self._database.first(select(JobRow.wish).where(*_held(hold)))
        if row is None:
            raise _lost(hold)
        wish: Wish = row.wish
        return wish

    async def write(
        self,
        hold: Hold,
        values: Mapping[str, Any] = {},
        *,
        events: Sequence[JobEvent] = (),
        writes: Sequence[Write] = (),
        lease_until: int | None = None,
    ) -> None:
        """All of it, or nothing. values: columns of the row. events: their numbers are given here. Raises LeaseLost."""
        changes: dict[str, Any] = {"num_events": JobRow.num_events + len(events), **values}
        if lease_until is not None:
            changes["lease_until"] = lease_until
        change = update(JobRow).where(*_held(hold)).values(**changes).returning(JobRow.num_events)
        async with self._database.write() as connection:
            row = (await connection.execute(change)).first()
            if row is None:
                raise _lost(hold)
            await _add_events(connection, hold, events, first=row.num_events - len(events) + 1)
            for write in writes:
                await write(connection)

    async def succeed(
        self, hold: Hold, result: bytes, now: int, *, events: Sequence[JobEvent] = (), writes: Sequence[Write] = ()
    ) -> None:
        """Raises LeaseLost."""
        done = {**IDLE, "status": "succeeded", "ended": now, "result": result, "progress": 1.0, "detail": ""}
        await self.write(hold, done, events=events, writes=writes)

    async def fail(
        self,
        hold: Hold,
        error: JobError,
        now: int,
        *,
        values: Mapping[str, Any] = {},
        events: Sequence[JobEvent] = (),
    ) -> None:
        """Raises LeaseLost."""
        await self.write(hold, {**values, **failure(error, now)}, events=events)

    async def give_back(
        self,
        hold: Hold,
        reason: str,
        now: int,
        max_attempts: int | None,
        *,
        values: Mapping[str, Any] = {},
        events: Sequence[JobEvent] = (),
    ) -> None:
        """A run ended without a result. What was wished is done, else the job waits for its next attempt, or has failed
        after so many. max_attempts: None for a run that was stopped from outside: it was none. Raises LeaseLost."""
        async with self._database.write() as connection:
            row = (await connection.execute(JOBS.where(*_held(hold)).with_for_update())).first()
            if row is None:
                raise _lost(hold)
            changes = {**values, **after_loss(to_job(row), reason, max_attempts, now)}
            changes["num_events"] = JobRow.num_events + len(events)
            change = update(JobRow).where(*_held(hold)).values(**changes).returning(JobRow.num_events)
            number = (await connection.execute(change)).one().num_events
            await _add_events(connection, hold, events, first=number - len(events) + 1)

    async def runners(self) -> set[str]:
        """Servers that are said to run jobs."""
        query = select(JobRow.runner).where(JobRow.status == "running", JobRow.runner.is_not(None)).distinct()
        async with self._database.read() as connection:
            return {str(runner) for runner in (await connection.execute(query)).scalars()}

    async def lost(self, gone: Collection[str], mine: str, now: int) -> list[Hold]:
        """Runs of servers that are gone, and those whose lease is over; but for this server's own, whose processes it
        watches itself."""
        is_over = or_(JobRow.runner.in_(gone), JobRow.lease_until < now)
        query = select(JobRow.id, JobRow.owner, JobRow.epoch)
        query = query.where(JobRow.status == "running", is_over, JobRow.runner != mine)
        async with self._database.read() as connection:
            return [Hold(*row) for row in (await connection.execute(query)).all()]

    async def _take_turns(self, connection: AsyncConnection) -> None:
        """Servers of one PostgreSQL claim one after the other, so that each sees what the others run."""
        if not self._database.is_sqlite:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": CLAIM_LOCK})


def _next(kinds: Collection[JobKind], now: int) -> Any:
    """By priority; then of the owner of whom the fewest run; then the oldest."""
    other = aliased(JobRow)
    num_running = (
        select(func.count()).where(other.owner == JobRow.owner, other.status == "running").correlate(JobRow)
    ).scalar_subquery()
    order = (JobRow.priority, num_running, JobRow.created, JobRow.id)
    return _waiting(kinds, now).order_by(*order).limit(1)


def _waiting(kinds: Collection[JobKind], now: int) -> Any:
    is_due = (JobRow.status == "queued", JobRow.not_before <= now)
    return select(JobRow.id, JobRow.epoch).where(*is_due, JobRow.kind.in_(kinds))


def _held(hold: Hold) -> tuple[ColumnElement[bool], ...]:
    return JobRow.id == hold.job_id, JobRow.epoch == hold.epoch, JobRow.status == "running"


def _lost(hold: Hold) -> LeaseLost:
    return LeaseLost(f"The job {hold.job_id} is no longer this run's (its epoch was {hold.epoch}).")


async def _add_events(connection: AsyncConnection, hold: Hold, events: Sequence[JobEvent], first: int) -> None:
    if events:
        rows = [
            {**msgspec.structs.asdict(event), "owner": hold.owner, "number": number}
            for number, event in enumerate(events, start=first)
        ]
        await connection.execute(insert(JobEventRow), rows)
