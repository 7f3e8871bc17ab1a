"""Sums of what a key has stored from an index alone, and the events of responses that were made in the background."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("responses", sa.Column("events", sa.LargeBinary(), nullable=True))
    op.create_index("ix_responses_owner_num_bytes", "responses", ["owner", "num_bytes"])
    op.create_index("ix_conversations_owner_num_bytes", "conversations", ["owner", "num_bytes"])
    op.create_index("ix_feedback_owner_num_bytes", "feedback", ["owner", "num_bytes"])
