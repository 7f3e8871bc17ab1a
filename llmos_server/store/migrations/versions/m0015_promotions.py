"""Promotions: names that applications ask for, and which version answers to each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.create_table(
        "promotions",
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("maker", sa.String(32), nullable=False),
        sa.Column("previous", sa.Integer(), nullable=True),
        sa.Column("made_by", sa.String(32), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("alias", "number", name="pk_promotions"),
    )
    op.create_index("ix_promotions_digest", "promotions", ["digest"])
