"""Keys may be limited to some skills and tools, as to models."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    for name in ("skills", "tools"):
        op.add_column("keys", sa.Column(name, sa.JSON(), nullable=True))
