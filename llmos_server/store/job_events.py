"""What jobs have told. Written by their runs; see job_leases.py."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.job_contracts import EventType, JobEvent
from llmos_server.store.database import Database
from llmos_server.store.job_rows import EVENTS, to_event
from llmos_server.store.job_tables import JobEventRow
from llmos_server.store.objects import can_be_id
from llmos_server.store.owners import Owner, of_owner


async def read_metrics(connection: AsyncConnection, job_id: str) -> list[JobEvent]:
    """All that a job has told so far, for its own run."""
    told = EVENTS.where(JobEventRow.job_id == job_id, JobEventRow.type == "metrics").order_by(JobEventRow.number)
    return [to_event(row) for row in (await connection.execute(told)).all()]


class JobEventRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(
        self,
        owner: Owner,
        job_id: str,
        *,
        after: int | None = None,
        limit: int,
        order: str = "asc",
        type: EventType | None = None,
    ) -> list[JobEvent]:
        """By number. after: beyond that number, in this order; order: "asc" or "desc"."""
        if not can_be_id(job_id):
            return []
        query = of_owner(EVENTS.where(JobEventRow.job_id == job_id), JobEventRow, owner)
        if type is not None:
            query = query.where(JobEventRow.type == type)
        number = JobEventRow.number
        if after is not None:
            query = query.where(number > after if order == "asc" else number < after)
        query = query.order_by(number if order == "asc" else number.desc()).limit(limit)
        async with self._database.read() as connection:
            return [to_event(row) for row in (await connection.execute(query)).all()]
