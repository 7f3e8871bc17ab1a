"""Which adapters a worker has loaded, as far as it has told; and who waits for one to come or go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from llmos_server.adapter_contracts import LoadedAdapter
from llmos_server.engine.messages import AdaptersChanged, DropAdapter, LoadAdapter
from llmos_server.errors import EngineFailed, InvalidRequest

Send = Callable[[LoadAdapter | DropAdapter], None]


class LoadedAdapters:
    """Of one worker after another."""

    def __init__(self) -> None:
        self._loaded: list[LoadedAdapter] = []
        self._last_used: dict[str, float] = {}
        """Of those that are loaded, and of those that requests wait for."""
        self._coming: dict[str, asyncio.Future[None]] = {}
        self._going: dict[str, asyncio.Future[None]] = {}

    @property
    def loaded(self) -> list[LoadedAdapter]:
        """The least recently used first."""
        return [msgspec.structs.replace(one, last_used=self._last_used.get(one.digest)) for one in self._loaded]

    def note_use(self, digest: str) -> None:
        """A request for it, or for none, was handed over."""
        if digest:
            self._last_used[digest] = time.time()

    async def load(self, digest: str, send: Send, epoch: int) -> None:
        """Raises InvalidRequest when it can't be loaded, EngineFailed when the worker ends."""
        if digest not in self._digests:
            send(LoadAdapter(epoch=epoch, digest=digest))
            await _waiting(self._coming, digest)

    async def drop(self, digest: str, send: Send, epoch: int) -> None:
        """Raises EngineFailed when the worker ends."""
        if digest in self._digests:
            send(DropAdapter(epoch=epoch, digest=digest))
            await _waiting(self._going, digest)

    def note(self, report: AdaptersChanged) -> None:
        gone = self._digests - {one.digest for one in report.loaded}
        self._loaded = report.loaded
        for digest in gone | report.failed.keys():
            self._last_used.pop(digest, None)
        for digest in self._coming.keys() & self._digests:
            self._coming.pop(digest).set_result(None)
        for digest in self._coming.keys() & report.failed.keys():
            self._coming.pop(digest).set_exception(InvalidRequest(report.failed[digest], code="adapter_failed"))
        for digest in self._going.keys() - self._digests:
            self._going.pop(digest).set_result(None)

    def lose(self, reason: str) -> None:
        """The worker has ended."""
        self._loaded = []
        self._last_used.clear()
        error = EngineFailed(f"The engine stopped meanwhile ({reason}); try again.", retry_after=1.0)
        for waiting in (self._coming, self._going):
            for future in waiting.values():
                future.set_exception(error)
            waiting.clear()

    @property
    def _digests(self) -> set[str]:
        return {one.digest for one in self._loaded}


async def _waiting(futures: dict[str, asyncio.Future[None]], digest: str) -> None:
    """Shared by all who wait for the same; none of them has to stay."""
    if digest not in futures:
        futures[digest] = asyncio.get_running_loop().create_future()
        futures[digest].add_done_callback(asyncio.Future.exception)
    await asyncio.shield(futures[digest])
