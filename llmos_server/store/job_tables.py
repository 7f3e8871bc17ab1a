"""The tables of jobs: the queue itself, and what jobs have told."""

from __future__ import annotations

from typing import Any

from advanced_alchemy.base import DefaultBase
from sqlalchemy import JSON, BigInteger, Float, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from llmos_server.store.state_tables import MAX_ID_LENGTH
from llmos_server.store.tables import ID_LENGTH, Owned


class JobRow(Owned, DefaultBase):
    """See job_contracts.Job. Times are Unix milliseconds."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_status_priority", "status", "priority", "created", "id"),
        Index("ix_jobs_owner_kind_created", "owner", "kind", "created", "id"),
        Index("ix_jobs_ended", "ended"),
    )

    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    title: Mapped[str] = mapped_column(Text)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    priority: Mapped[int] = mapped_column(Integer)
    status: Mapped[str] = mapped_column(String(16))
    wish: Mapped[str] = mapped_column(String(16))
    epoch: Mapped[int] = mapped_column(Integer)
    attempts: Mapped[int] = mapped_column(Integer)
    runner: Mapped[str | None] = mapped_column(String(ID_LENGTH))
    """The server that runs it; see presence.py."""
    lease_until: Mapped[int | None] = mapped_column(BigInteger)
    not_before: Mapped[int] = mapped_column(BigInteger)
    """One that waits is begun then at the earliest."""
    num_events: Mapped[int] = mapped_column(Integer)
    created: Mapped[int] = mapped_column(BigInteger)
    started: Mapped[int | None] = mapped_column(BigInteger)
    ended: Mapped[int | None] = mapped_column(BigInteger)
    progress: Mapped[float | None] = mapped_column(Float(53))
    detail: Mapped[str] = mapped_column(Text)
    error: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    result: Mapped[bytes | None] = mapped_column(LargeBinary)


class JobEventRow(Owned, DefaultBase):
    """Goes with its job."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(
        String(MAX_ID_LENGTH),
        ForeignKey("jobs.id", name="fk_job_events_job", ondelete="CASCADE"),
        primary_key=True,
    )
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    created: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[str] = mapped_column(String(16))
    level: Mapped[str] = mapped_column(String(16))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
