"""An adapter's name goes, and its files when no other name leads to them."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.contracts import Generator
from llmos_server.errors import LLMOSError
from llmos_server.registry import adapter_folders
from llmos_server.store.store import Store

log = structlog.get_logger(__name__)


DROP_SECONDS = 1.0
"""An engine drops it when no request uses it any more; that long the answer waits for it."""


async def remove_adapter(store: Store, adapter: AdapterVersion, engine: Generator) -> None:
    """engine: of this server; another server's keeps it until it needs the room. Raises StoreUnavailable."""
    await store.adapters.delete(adapter.owner, adapter.name)
    if adapter.digest not in await store.adapters.digests():
        with suppress(LLMOSError, TimeoutError):
            await asyncio.wait_for(engine.drop_adapter(adapter.digest), DROP_SECONDS)
        await asyncio.to_thread(adapter_folders.remove_adapter, store.database.home, adapter.digest)
    log.info("adapter removed", name=adapter.name, owner=adapter.owner)
