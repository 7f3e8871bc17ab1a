"""One run of a job, as the server sees it: its process is started, and whatever ends that, the job is nobody's then."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from llmos_server.errors import StoreUnavailable
from llmos_server.job_contracts import Job, JobError, LeaseLost
from llmos_server.jobs.launcher import JobProcess
from llmos_server.jobs.memory_bound import watch_memory
from llmos_server.store.job_leases import JobLeases, hold_of

LOOK_SECONDS = 1.0
RETRY_SECONDS = 2.0

log = structlog.get_logger(__name__)


class RunWatch:
    """Everything runs on the event loop."""

    def __init__(
        self,
        job: Job,
        leases: JobLeases,
        *,
        stop_seconds: float,
        max_attempts: int,
        memory_bytes: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """memory_bytes: what its processes may take together; 0: as much as they like."""
        self.job = job
        self._hold = hold_of(job)
        self._leases = leases
        self._stop_seconds = stop_seconds
        self._max_attempts = max_attempts
        self._clock = clock
        self._memory_bytes = memory_bytes
        self._fault: JobError | None = None
        self._process: JobProcess | None = None
        self._is_stopping = asyncio.Event()

    def stop(self) -> None:
        """The server stops: the process is told, and killed when it takes too long."""
        self._is_stopping.set()
        if self._process is not None:
            self._process.stop()

    async def run(self, launch: Callable[[], Awaitable[JobProcess]]) -> None:
        """From the start of the process to its end, after which the job is done, or waits, or is another's."""
        reason = await self._live(launch)
        most = None if self._is_stopping.is_set() else self._max_attempts
        with suppress(LeaseLost):  # It has written its end itself.
            while True:
                now = int(self._clock() * 1000)
                try:
                    if self._fault is not None:
                        await self._leases.fail(self._hold, self._fault, now)
                    else:
                        await self._leases.give_back(self._hold, reason, now, most)
                    log.warning("a job's run ended without a result", job=self.job.id, reason=reason)
                    return
                except StoreUnavailable as error:
                    if self._is_stopping.is_set():
                        return  # The next server sees that this one is gone.
                    log.warning("a job can't be given back yet", job=self.job.id, error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)

    async def _live(self, launch: Callable[[], Awaitable[JobProcess]]) -> str:
        """Why the process is over."""
        try:
            self._process = process = await launch()
        except Exception as error:
            log.exception("a job's process can't be started", job=self.job.id)
            return f"its process can't be started: {error}"
        log.info("a job is run", job=self.job.id, kind=self.job.kind, epoch=self.job.epoch, pid=process.pid)
        if self._is_stopping.is_set():
            process.stop()
        watching = {asyncio.create_task(self._kill_in_time(process))}
        if self._memory_bytes:
            watching.add(asyncio.create_task(self._kill_when_too_large(process)))
        try:
            return describe_exit(await process.wait())
        finally:
            for task in watching:
                task.cancel()
            await asyncio.wait(watching)
            self._process = None

    async def _kill_when_too_large(self, process: JobProcess) -> None:
        self._fault = await watch_memory(process.pid, self._memory_bytes)
        log.warning("a job takes too much memory: its process is killed", job=self.job.id, reason=self._fault.message)
        process.kill()

    async def _kill_in_time(self, process: JobProcess) -> None:
        """When it doesn't stop although it should: then it hangs in some call."""
        asked_since: float | None = None
        while asked_since is None or _now() - asked_since < self._stop_seconds:
            if not await self._is_asked():
                asked_since = None
            elif asked_since is None:
                asked_since = _now()
            await asyncio.sleep(min(LOOK_SECONDS, self._stop_seconds or LOOK_SECONDS))
        log.warning("a job doesn't stop: its process is killed", job=self.job.id, seconds=self._stop_seconds)
        process.kill()

    async def _is_asked(self) -> bool:
        """To stop, by whoever."""
        if self._is_stopping.is_set():
            return True
        try:
            return bool(await self._leases.wish_of(self._hold))
        except LeaseLost:
            return True
        except StoreUnavailable:
            return False


def describe_exit(status: int) -> str:
    if status >= 0:
        return f"its process ended with status {status}"
    name = signal.Signals(-status).name
    what = ", perhaps for want of memory" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{what}"


def _now() -> float:
    return asyncio.get_running_loop().time()
