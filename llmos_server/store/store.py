"""The database with its repositories, as one thing to open, migrate and close."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from llmos_server.settings import JobsSettings, Settings, StorageSettings
from llmos_server.store.adapters import AdapterRepository
from llmos_server.store.conversations import ConversationRepository
from llmos_server.store.database import Database
from llmos_server.store.eval_items import EvalItemRepository
from llmos_server.store.eval_runs import EvalRunRepository
from llmos_server.store.evals import EvalRepository
from llmos_server.store.feedback import FeedbackRepository
from llmos_server.store.files import FileRepository
from llmos_server.store.job_events import JobEventRepository
from llmos_server.store.job_leases import JobLeases
from llmos_server.store.jobs import JobRepository
from llmos_server.store.keys import KeyRepository
from llmos_server.store.migrate import migrate
from llmos_server.store.object_removals import ObjectRemovals
from llmos_server.store.pinned_models import PinnedModelRepository
from llmos_server.store.presence import create_presence
from llmos_server.store.promotions import PromotionRepository
from llmos_server.store.quota import Quota
from llmos_server.store.removals import UsageRemovals
from llmos_server.store.responses import ResponseRepository
from llmos_server.store.skill_scores import SkillScoreRepository
from llmos_server.store.skill_switches import SkillSwitchRepository
from llmos_server.store.usage import UsageRepository

log = structlog.get_logger(__name__)


class Store:
    """Connects when first used, and belongs to the event loop that uses it."""

    def __init__(
        self, database: Database, storage: StorageSettings | None = None, jobs: JobsSettings | None = None
    ) -> None:
        """storage: how much of clients' objects is kept; jobs: how many jobs; None has its defaults."""
        self.settings = storage = storage or StorageSettings()
        self.database = database
        self.presence = create_presence(database)
        self.keys = KeyRepository(database)
        self.usage = UsageRepository(database)
        self.removals = UsageRemovals(database)
        self.object_removals = ObjectRemovals(database)
        self.adapters = AdapterRepository(database)
        self.promotions = PromotionRepository(database)
        self.pinned_models = PinnedModelRepository(database)
        self.skill_scores = SkillScoreRepository(database)
        self.skill_switches = SkillSwitchRepository(database)
        self._quota = Quota(storage.max_key_bytes)
        self.responses = ResponseRepository(database, self.presence, storage, self._quota)
        self.files = FileRepository(database, self._quota)
        self.conversations = ConversationRepository(database, storage, self._quota)
        self.job_settings = jobs or JobsSettings()
        self.jobs = JobRepository(database, self.job_settings.max_per_key)
        self.job_leases = JobLeases(database)
        self.job_events = JobEventRepository(database)
        self.evals = EvalRepository(database, storage, self._quota)
        self.eval_runs = EvalRunRepository(database, storage, self._quota, self.jobs)
        self.eval_items = EvalItemRepository(database)
        self.feedback = FeedbackRepository(database, storage, self._quota)

    async def serve(self) -> None:
        """At a server's start: others see that it runs."""
        await self.presence.start()
        await self.skill_switches.refresh()
        await self.fail_unfinished()

    async def require_room(self, owner: str) -> None:
        """Before work whose result is to be stored. Raises Forbidden when its owner may store nothing more."""
        async with self.database.read() as connection:
            await self._quota.check(connection, owner)

    async def fail_unfinished(self) -> None:
        """Responses of servers that run no more."""
        if num_failed := await self.responses.fail_unfinished():
            log.warning("responses failed: their server was stopped", responses=num_failed)

    async def close(self) -> None:
        await self.presence.stop()
        await self.database.close()


def create_store(settings: Settings) -> Store:
    return Store(Database(settings.home, settings.database.url), settings.storage, settings.jobs)


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """Migrated; closed at the end."""
    store = create_store(settings)
    try:
        await migrate(store.database)
        yield store
    finally:
        await store.close()
