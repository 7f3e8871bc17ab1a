"""Stored responses by owner and time: evaluations read them so."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.create_index("ix_responses_owner_created", "responses", ["owner", "created", "id"])
