"""An adapter's name goes, and its files when no other name leads to them."""

from __future__ import annotations

import asyncio

import structlog

from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.registry import adapter_folders
from llmos_server.store.store import Store

log = structlog.get_logger(__name__)


async def remove_adapter(store: Store, adapter: AdapterVersion) -> None:
    """Workers that have loaded it keep it until they need the room. Raises StoreUnavailable."""
    await store.adapters.delete(adapter.owner, adapter.name)
    if adapter.digest not in await store.adapters.digests():
        await asyncio.to_thread(adapter_folders.remove_adapter, store.database.home, adapter.digest)
    log.info("adapter removed", name=adapter.name, owner=adapter.owner)
