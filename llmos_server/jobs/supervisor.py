"""The server's part in jobs: what waits is claimed as far as there is room, and what others have lost is taken up."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import structlog

from llmos_server.cores import num_usable_cores
from llmos_server.errors import StoreUnavailable
from llmos_server.files.job_folders import LOG, JobFolders
from llmos_server.job_contracts import Job, JobKind, LeaseLost, ServerAddress
from llmos_server.jobs.launcher import JobLauncher, JobProcess, SubprocessJobs
from llmos_server.jobs.loans import LENT_TO, Lender, Loans
from llmos_server.jobs.process_config import configure
from llmos_server.jobs.watch import RunWatch
from llmos_server.settings import Settings
from llmos_server.store.job_leases import JobLeases
from llmos_server.store.presence import Presence

POLL_SECONDS = 2.0
"""How soon a job is begun that another process has added, or that was to wait."""

log = structlog.get_logger(__name__)


class Badges(Protocol):
    """What jobs' processes show the server to be let in."""

    def issue(self, owner: str) -> str: ...

    def withdraw(self, badge: str) -> None: ...


class JobSupervisor:
    """Everything runs on the event loop that called start()."""

    def __init__(
        self,
        leases: JobLeases,
        presence: Presence,
        settings: Settings,
        base_url: str | None,
        badges: Badges,
        *,
        launcher: JobLauncher | None = None,
        lender: Lender | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """base_url: where jobs reach this server; None begins none. launcher: None starts processes on this machine.
        lender: of whom memory is had; None asks nobody. settings.jobs.memory_bytes: 0 sets no bound."""
        self._leases = leases
        self._presence = presence
        self._settings = settings
        self._base_url = base_url
        self._badges = badges
        self._launcher = launcher or SubprocessJobs()
        self._clock = clock
        self._folders = JobFolders(settings.home)
        self._loans = Loans(lender, settings.jobs.memory_bytes, self.wake)
        self._running: dict[asyncio.Task[None], RunWatch] = {}
        self._wakes = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        if self._settings.jobs.enabled and self._base_url is not None:
            self._task = asyncio.create_task(self._run(), name="jobs")

    def stop_soon(self) -> None:
        """Jobs stop at their next step, and wait for the next server."""
        self._loans.drop()
        if self._task is not None:
            self._task.cancel()
        for watch in self._running.values():
            watch.stop()

    async def stop(self) -> None:
        """None runs when this returns."""
        self.stop_soon()
        if self._task is not None:
            await asyncio.wait({self._task})
        if self._running:
            await asyncio.wait(set(self._running))

    def wake(self) -> None:
        """There may be something to do."""
        self._wakes.set()

    async def _run(self) -> None:
        while True:
            self._wakes.clear()
            try:
                await self._take_up()
                await self._claim()
            except StoreUnavailable as error:
                log.warning("no jobs can be begun now", error=str(error))
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wakes.wait()
            except TimeoutError:
                pass

    async def _take_up(self) -> None:
        """Jobs of servers that run no more, and of processes that haven't been heard of."""
        others = await self._leases.runners() - {self._presence.id}
        gone = await self._presence.gone(others) if others else set()
        for hold in await self._leases.lost(gone, self._presence.id, self._now()):
            try:
                most = self._settings.jobs.max_attempts
                await self._leases.give_back(hold, "its server ended", self._now(), most)
                log.warning("a job was lost, and waits again", job=hold.job_id)
            except LeaseLost:
                pass  # Another server was first.

    async def _claim(self) -> None:
        while kinds := await self._kinds_to_begin():
            if not await self._leases.is_any_waiting(kinds, self._now()):
                return
            lease = int(self._settings.jobs.lease_seconds * 1000)
            job = await self._leases.claim(self._presence.id, kinds, self._now(), lease)
            if job is None:
                return
            self._begin(job)

    async def _kinds_to_begin(self) -> list[JobKind]:
        """Those with room, once there is memory for them: it is asked for as long as one of them waits."""
        kinds = self._kinds_with_room()
        wanting = [kind for kind in kinds if kind in LENT_TO]
        if not wanting or not await self._leases.is_any_waiting(wanting, self._now()):
            self._loans.drop()
            return [kind for kind in kinds if kind not in wanting]
        self._loans.ask()
        await asyncio.sleep(0)
        if self._loans.is_ready:
            return kinds
        await self._leases.tell_waiting(wanting, self._loans.detail, self._now())
        return [kind for kind in kinds if kind not in wanting]

    def _kinds_with_room(self) -> list[JobKind]:
        settings = self._settings.jobs
        most: dict[JobKind, int] = {
            "tune": settings.max_tunes,
            "batch": settings.max_batches,
            "eval": settings.max_evals,
        }
        running = Counter(watch.job.kind for watch in self._running.values())
        return [kind for kind, number in most.items() if running[kind] < number]

    def _begin(self, job: Job) -> None:
        settings = self._settings.jobs
        watch = RunWatch(
            job,
            self._leases,
            stop_seconds=settings.stop_seconds,
            max_attempts=settings.max_attempts,
            memory_bytes=settings.memory_bytes,
            clock=self._clock,
        )
        give_back = self._loans.take() if job.kind in LENT_TO else lambda: None
        task = asyncio.create_task(self._see_through(watch), name=f"job {job.id}")
        self._running[task] = watch

        def forget(done: asyncio.Task[None]) -> None:
            del self._running[done]
            give_back()
            if not done.cancelled() and (error := done.exception()) is not None:
                log.error("a job could not be watched", job=job.id, exc_info=error)
            self.wake()

        task.add_done_callback(forget)

    async def _see_through(self, watch: RunWatch) -> None:
        badge = self._badges.issue(watch.job.owner)

        async def launch() -> JobProcess:
            folder: Path = await asyncio.to_thread(self._folders.make, watch.job.id)
            address = ServerAddress(self._base_url or "", badge)
            config = configure(watch.job.id, watch.job.epoch, self._settings, address)
            return await self._launcher.launch(config, folder / LOG, self._num_threads())

        try:
            await watch.run(launch)
        finally:
            self._badges.withdraw(badge)

    def _num_threads(self) -> int:
        return self._settings.jobs.threads or max(num_usable_cores() // 2, 1)

    def _now(self) -> int:
        return int(self._clock() * 1000)
