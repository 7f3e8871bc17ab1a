"""The database with its repositories, as one thing to open, migrate and close."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llmos_server.settings import Settings
from llmos_server.store.database import Database
from llmos_server.store.keys import KeyRepository
from llmos_server.store.migrate import migrate
from llmos_server.store.removals import UsageRemovals
from llmos_server.store.skill_scores import SkillScoreRepository
from llmos_server.store.usage import UsageRepository


class Store:
    """Connects when first used, and belongs to the event loop that uses it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.keys = KeyRepository(database)
        self.usage = UsageRepository(database)
        self.removals = UsageRemovals(database)
        self.skill_scores = SkillScoreRepository(database)

    async def close(self) -> None:
        await self.database.close()


def create_store(settings: Settings) -> Store:
    return Store(Database(settings.home, settings.database.url))


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Migrated; closed at the end."""
    store = create_store(settings)
    try:
        await migrate(store.database)
        yield store
    finally:
        await store.close()
