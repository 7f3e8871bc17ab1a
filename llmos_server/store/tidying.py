"""What a running server does for its database between its own writes: nothing of it is asked for by a request."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from llmos_server.settings import Settings
from llmos_server.store.retention import Retention
from llmos_server.store.store import Store

SECONDS_BETWEEN_ROUNDS = 60.0
OBJECT_BATCH = 100
"""Responses in one write, or conversations, or feedback: each may be large."""
OBJECT_SECONDS = 3600.0


class Tidying:
    """For the ledger's loop, which gives it a turn after each of its own writes."""

    def __init__(self, store: Store, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        objects, storage = store.object_removals, settings.storage

        def of_objects(what: str, remove: Callable[[int, int], Awaitable[int]], days: int) -> Retention:
            return Retention(remove, days, clock, what=what, batch_rows=OBJECT_BATCH, seconds_between=OBJECT_SECONDS)

        self._retentions = [
            Retention(store.removals.remove_before, settings.database.usage_days, clock),
            of_objects("responses", objects.remove_old_responses, storage.response_days),
            of_objects("conversations", objects.remove_old_conversations, storage.conversation_days),
            of_objects("feedback", objects.remove_old_feedback, storage.feedback_days),
        ]
        self._store = store
        self._clock = clock
        self._next = 0.0

    async def take_turn(self) -> None:
        """Raises StoreUnavailable."""
        for retention in self._retentions:
            await retention.take_turn()
        now = self._clock()
        if now >= self._next:
            self._next = now + SECONDS_BETWEEN_ROUNDS
            await self._store.fail_unfinished()
            await self._store.skill_switches.refresh()
            await self._store.database.forget()
