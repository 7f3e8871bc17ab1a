"""What users say about answers; and conversations by their age, for lists."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("owner", sa.String(32), nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("rating", sa.Integer(), nullable=True),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("num_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "id", name="pk_feedback"),
    )
    op.create_index("ix_feedback_created", "feedback", ["created", "id"])
    op.create_index("ix_conversations_owner_created", "conversations", ["owner", "created", "id"])
