"""One run of a job, on the event loop of its process: what it tells is written, its lease is renewed, and what it is
asked for is looked up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from llmos_server.errors import StoreUnavailable
from llmos_server.job_contracts import Cancelled, Interrupted, Job, JobError, JobStopped, LeaseLost, Paused, Wish, Write
from llmos_server.jobs.told import TellTale, Told
from llmos_server.store.job_leases import JobLeases, hold_of

LOOK_SECONDS = 0.5
"""How soon a wish is known, and what was told is written."""
RETRY_SECONDS = 1.0

_STOPS: dict[Wish, type[JobStopped] | None] = {"": None, "pause": Paused, "cancel": Cancelled}

log = structlog.get_logger(__name__)


class Run:
    """Everything but `told` and `stop` belongs to the event loop."""

    def __init__(
        self,
        job: Job,
        leases: JobLeases,
        lease_seconds: float,
        max_attempts: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.job = job
        self.told = TellTale()
        self.stop: type[JobStopped] | None = None
        """What the job's code is to raise."""
        self.is_finished = False
        self._hold = hold_of(job)
        self._leases = leases
        self._lease_seconds = lease_seconds
        self._max_attempts = max_attempts
        self._clock = clock
        self._renewed = clock()
        self._is_interrupted = False
        self._turn = asyncio.Lock()

    def interrupt(self) -> None:
        """The server stops. From any thread."""
        self._is_interrupted = True
        self.stop = self.stop or Interrupted

    def now(self) -> int:
        return int(self._clock() * 1000)

    async def watch(self) -> None:
        """Until the lease is lost: a task beside the job's code."""
        while self.stop is not LeaseLost:
            try:
                await self.look()
            except StoreUnavailable as error:
                log.warning("the database can't be used; the job goes on", job=self.job.id, error=str(error))
            except LeaseLost:
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Raises StoreUnavailable, LeaseLost."""
        if self.is_finished:
            return
        try:
            wish = await self._leases.wish_of(self._hold)
        except LeaseLost:
            if not self.is_finished:
                self.stop = LeaseLost
            raise
        self.stop = _STOPS[wish] or (Interrupted if self._is_interrupted else None)
        if not self.told.is_empty or self._clock() - self._renewed > self._lease_seconds / 3:
            await self.write()

    async def write(self, writes: Sequence[Write] = (), **values: Any) -> None:
        """With all that was told so far; the lease is renewed. Raises StoreUnavailable, LeaseLost."""

        async def act(told: Told) -> None:
            now = self.now()
            changes = {**told.values, **values}
            until = now + int(self._lease_seconds * 1000)
            await self._leases.write(self._hold, changes, events=told.events, writes=writes, lease_until=until)
            self._renewed = now / 1000

        await self._with_told(act)

    async def succeed(self, result: bytes, writes: Sequence[Write] = ()) -> None:
        """Raises StoreUnavailable, LeaseLost."""

        async def act(told: Told) -> None:
            await self._leases.succeed(self._hold, result, self.now(), events=told.events, writes=writes)
            self.is_finished = True

        await self._with_told(act)

    async def fail(self, error: JobError) -> None:
        """Raises StoreUnavailable, LeaseLost."""
        await self._with_told(
            lambda told: self._leases.fail(self._hold, error, self.now(), values=told.values, events=told.events)
        )

    async def give_back(self, reason: str, *, is_attempt: bool) -> None:
        """Raises StoreUnavailable, LeaseLost."""
        most = self._max_attempts if is_attempt else None
        await self._with_told(
            lambda told: self._leases.give_back(
                self._hold, reason, self.now(), most, values=told.values, events=told.events
            )
        )

    async def patiently(self, act: Callable[[], Awaitable[None]]) -> None:
        """act(), again and again while the database can't be used. Raises LeaseLost, and Interrupted when the server
        stops meanwhile."""
        while True:
            try:
                return await act()
            except StoreUnavailable as error:
                if self._is_interrupted:
                    raise Interrupted(str(error)) from error
                log.warning("the database can't be used; the job waits", job=self.job.id, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def _with_told(self, act: Callable[[Told], Awaitable[None]]) -> None:
        async with self._turn:
            told = self.told.take()
            try:
                await act(told)
            except BaseException as error:
                self.told.put_back(told)
                if isinstance(error, LeaseLost):
                    self.stop = LeaseLost
                raise
