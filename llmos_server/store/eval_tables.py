"""The tables of evaluations: what is measured by what, its runs, what came of each item. Content is JSON as text."""

from __future__ import annotations

from advanced_alchemy.base import DefaultBase
from sqlalchemy import BigInteger, ForeignKeyConstraint, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from llmos_server.store.state_tables import MAX_ID_LENGTH
from llmos_server.store.tables import ID_LENGTH, Owned

MAX_NAME_LENGTH = 200


class EvalRow(Owned, DefaultBase):
    """A key's own by its very primary key, as are the rows below."""

    __tablename__ = "evals"
    __table_args__ = (
        Index("ix_evals_owner_created", "owner", "created", "id"),
        Index("ix_evals_owner_changed", "owner", "changed", "id"),
        Index("ix_evals_owner_num_bytes", "owner", "num_bytes"),
    )

    owner: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(MAX_NAME_LENGTH))
    content: Mapped[str] = mapped_column(Text)
    """data_source_config, testing_criteria, metadata."""
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger)
    changed: Mapped[int] = mapped_column(BigInteger)
    """Unix milliseconds, both."""


class EvalRunRow(Owned, DefaultBase):
    """Goes with its eval. Its job has the same id, and is removed some time after its end; the result stays here."""

    __tablename__ = "eval_runs"
    __table_args__ = (
        ForeignKeyConstraint(
            ["owner", "eval_id"], ["evals.owner", "evals.id"], name="fk_eval_runs_eval", ondelete="CASCADE"
        ),
        Index("ix_eval_runs_owner_eval_created", "owner", "eval_id", "created", "id"),
        Index("ix_eval_runs_owner_num_bytes", "owner", "num_bytes"),
    )

    owner: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    eval_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH))
    name: Mapped[str] = mapped_column(String(MAX_NAME_LENGTH))
    model: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    """data_source and metadata."""
    result: Mapped[str | None] = mapped_column(Text)
    """Of one that is completed."""
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger)


class EvalItemRow(Owned, DefaultBase):
    """What came of one item. Goes with its run."""

    __tablename__ = "eval_items"
    __table_args__ = (
        ForeignKeyConstraint(
            ["owner", "run_id"], ["eval_runs.owner", "eval_runs.id"], name="fk_eval_items_run", ondelete="CASCADE"
        ),
        Index("ix_eval_items_owner_num_bytes", "owner", "num_bytes"),
    )

    owner: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    run_id: Mapped[str] = mapped_column(String(MAX_ID_LENGTH), primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    """Of the item among the run's data, from 0 on."""
    status: Mapped[str] = mapped_column(String(8))
    """pass, fail or error."""
    content: Mapped[str] = mapped_column(Text)
    num_bytes: Mapped[int] = mapped_column(BigInteger)
    created: Mapped[int] = mapped_column(BigInteger)
