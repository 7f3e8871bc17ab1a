"""How much one key may have stored, of everything together."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from llmos_server.errors import Forbidden
from llmos_server.store.eval_tables import EvalItemRow, EvalRow, EvalRunRow
from llmos_server.store.file_tables import FileRow
from llmos_server.store.state_tables import ConversationRow, FeedbackRow, ResponseRow

TABLES = (ResponseRow, ConversationRow, FeedbackRow, FileRow, EvalRow, EvalRunRow, EvalItemRow)
ROW_BYTES = 256
"""What an object takes beside its content, roughly, so that many empty ones count, too."""


class Quota:
    def __init__(self, max_bytes: int) -> None:
        """0 sets no limit."""
        self._max_bytes = max_bytes

    async def check(self, connection: AsyncConnection, owner: str, adding: int = 0) -> None:
        """Raises Forbidden when `adding` bytes more are too many, or when nothing more may be stored."""
        if not self._max_bytes or adding < 0:
            return
        used = 0
        for table in TABLES:
            total = select(func.coalesce(func.sum(table.num_bytes + ROW_BYTES), 0)).where(table.owner == owner)
            used += int((await connection.execute(total)).scalar_one())
        if used + adding + ROW_BYTES <= self._max_bytes:
            return
        raise Forbidden(
            f"This key has stored {used} bytes of responses, conversations, feedback, files and evals, and may store "
            f"{self._max_bytes} (the setting storage.max_key_bytes). Delete some of them (DELETE /v1/responses/ID, "
            "/v1/conversations/ID, /v1/files/ID, /v1/evals/ID), send store: false, or ask an administrator for: "
            "llmos prune --key NAME",
            code="storage_quota_exceeded",
        )
