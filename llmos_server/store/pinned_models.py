"""Which models administrators have pinned, beside those of the settings."""

from __future__ import annotations

import time

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from llmos_server.store.database import Database
from llmos_server.store.tables import PinnedModel


class PinnedModelRepository:
    """By canonical name, whether the model is there or not."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self) -> list[str]:
        """Sorted."""
        async with self._database.read() as connection:
            return list((await connection.scalars(select(PinnedModel.name).order_by(PinnedModel.name))).all())

    async def add(self, name: str) -> None:
        """Safe to repeat."""
        async with self._database.write() as connection:
            insert = sqlite.insert if self._database.is_sqlite else postgresql.insert
            row = insert(PinnedModel).values(name=name, created=int(time.time() * 1000))
            await connection.execute(row.on_conflict_do_nothing())

    async def remove(self, name: str) -> None:
        """Safe to repeat."""
        async with self._database.write() as connection:
            await connection.execute(delete(PinnedModel).where(PinnedModel.name == name))
