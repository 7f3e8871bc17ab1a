"""Files of adapters that no name leads to go, a day after they came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from llmos_server.registry.adapter_folders import leftover_adapters, remove_adapter

SECONDS_BETWEEN = 600.0
KEPT_SECONDS = 86_400.0
"""A job registers an adapter some time after it has been published."""

log = structlog.get_logger(__name__)


class AdapterRows(Protocol):
    """What the database knows of adapters."""

    async def remove_temporary(self) -> None: ...

    async def digests(self) -> set[str]: ...


class AdapterSweeping:
    """For the ledger's loop, as the rest of tidying."""

    def __init__(self, rows: AdapterRows, home: Path, clock: Callable[[], float] = time.time) -> None:
        self._rows = rows
        self._home = home
        self._clock = clock
        self._next = 0.0

    async def take_turn(self) -> None:
        """Raises StoreUnavailable."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + SECONDS_BETWEEN
        await self._rows.remove_temporary()
        known = await self._rows.digests()
        for digest in await asyncio.to_thread(leftover_adapters, self._home, known, now - KEPT_SECONDS):
            await asyncio.to_thread(remove_adapter, self._home, digest)
            log.info("adapter without a name removed", digest=digest)
