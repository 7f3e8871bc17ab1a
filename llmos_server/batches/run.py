"""The requests of a batch, a few at a time, until all are answered, or something ends it before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

import httpx2

from llmos_server.batches.asking import ask
from llmos_server.batches.input_lines import LineRequest
from llmos_server.batches.journal import Journal
from llmos_server.job_client import create_client, work_until
from llmos_server.job_contracts import JobContext

LOOK_SECONDS = 0.2
SYNC_SECONDS = 1.0
CHECKPOINT_SECONDS = 10.0


class Expired(Exception):
    """The time that the batch had is over."""


class BatchRun:
    def __init__(
        self,
        context: JobContext,
        endpoint: str,
        journal: Journal,
        *,
        expires: int,
        concurrency: int,
        on_answer: Callable[[], None],
    ) -> None:
        """expires: Unix milliseconds. on_answer: called when the journal has another one."""
        self._context = context
        self._endpoint = endpoint
        self._journal = journal
        self._expires = expires
        self._concurrency = concurrency
        self._on_answer = on_answer
        self._num_synced = len(journal.places)
        self._num_kept = self._num_synced

    async def ask_all(self, requests: Iterator[LineRequest]) -> None:
        """Those that have no answer yet. Raises JobStopped, Expired, JobFailed, OSError; what was answered is kept."""
        missing = (request for request in requests if request.custom_id not in self._journal.places)
        async with create_client(self._context.server, self._concurrency) as client:
            await work_until((self._work(client, missing) for _ in range(self._concurrency)), self._watch())
        self._journal.sync()

    async def _work(self, client: httpx2.AsyncClient, missing: Iterator[LineRequest]) -> None:
        for request in missing:
            self._journal.add(await ask(client, self._endpoint, request))
            self._on_answer()

    async def _watch(self) -> None:
        """Raises what ends the batch."""
        synced = kept = time.monotonic()
        while True:
            self._context.check()
            if time.time() * 1000 >= self._expires:
                raise Expired
            now, done = time.monotonic(), len(self._journal.places)
            if now - synced >= SYNC_SECONDS and done > self._num_synced:
                await asyncio.to_thread(self._journal.sync)
                synced, self._num_synced = now, done
            if now - kept >= CHECKPOINT_SECONDS and self._num_synced > self._num_kept:
                await asyncio.to_thread(self._context.checkpoint)
                kept, self._num_kept = now, self._num_synced
            await asyncio.sleep(LOOK_SECONDS)
