"""Models that are never evicted: those of the settings, and those that administrators pin while the server runs."""

from __future__ import annotations

from collections.abc import Collection

import structlog

from llmos_server.errors import InvalidRequest, StoreUnavailable
from llmos_server.fleet_contracts import EngineFleet
from llmos_server.store.pinned_models import PinnedModelRepository

log = structlog.get_logger(__name__)


class Pins:
    """Names are canonical ones."""

    def __init__(self, fleet: EngineFleet, kept: PinnedModelRepository | None, settings: Collection[str] = ()) -> None:
        """kept: None on a server without a database, which keeps none. settings: what models.pinned names; the fleet
        knows of these already."""
        self._fleet = fleet
        self._kept = kept
        self._settings = frozenset(settings)

    def is_from_settings(self, name: str) -> bool:
        return name in self._settings

    async def restore(self) -> None:
        """At the server's start. Raises StoreUnavailable."""
        for name in await self._kept.list() if self._kept is not None else []:
            self._fleet.pin(name, is_pinned=True)

    async def pin(self, name: str) -> None:
        """Kept before it holds. Raises StoreUnavailable."""
        await self._repository().add(name)
        self._fleet.pin(name, is_pinned=True)

    async def unpin(self, name: str) -> None:
        """Raises InvalidRequest for what the settings pin, StoreUnavailable."""
        if name in self._settings:
            raise InvalidRequest(
                f"{name} is pinned by the setting models.pinned; take it out there, and start the server again.",
                param="model",
                code="pinned_by_settings",
            )
        await self._repository().remove(name)
        self._fleet.pin(name, is_pinned=False)

    async def forget(self, name: str) -> None:
        """Of a model that was removed: one that comes later by the same name isn't pinned, unless the settings say so.
        It is gone in any case, so that a database that can't be used is only logged."""
        if self._kept is None:
            return
        try:
            await self._kept.remove(name)
        except StoreUnavailable:
            log.warning("a removed model stays pinned", model=name)
            return
        self._fleet.pin(name, is_pinned=name in self._settings)

    def _repository(self) -> PinnedModelRepository:
        if self._kept is None:
            raise StoreUnavailable("This server has no database, which would keep pins.")
        return self._kept
