"""Evaluations: what is measured by what, its runs, and what came of each item."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "evals",
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "id", name="pk_evals"),
    )
    op.create_index("ix_evals_owner_created", "evals", ["owner", "created", "id"])
    op.create_index("ix_evals_owner_changed", "evals", ["owner", "changed", "id"])
    op.create_index("ix_evals_owner_num_bytes", "evals", ["owner", "num_bytes"])
    op.create_table(
        "eval_runs",
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("eval_id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "id", name="pk_eval_runs"),
        sa.ForeignKeyConstraint(
            ["owner", "eval_id"], ["evals.owner", "evals.id"], name="fk_eval_runs_eval", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_eval_runs_owner_eval_created", "eval_runs", ["owner", "eval_id", "created", "id"])
    op.create_index("ix_eval_runs_owner_num_bytes", "eval_runs", ["owner", "num_bytes"])
    op.create_table(
        "eval_items",
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "run_id", "position", name="pk_eval_items"),
        sa.ForeignKeyConstraint(
            ["owner", "run_id"], ["eval_runs.owner", "eval_runs.id"], name="fk_eval_items_run", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_eval_items_owner_num_bytes", "eval_items", ["owner", "num_bytes"])
