"""A server's part in jobs without its API: a supervisor over a database, in this process or in one of its own."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import counting

from llmos_server.access.job_badges import JobBadges
from llmos_server.job_contracts import ENDED, Job
from llmos_server.jobs.launcher import JobLauncher, SubprocessJobs
from llmos_server.jobs.loans import Lender
from llmos_server.jobs.process import run_job
from llmos_server.jobs.process_config import ProcessConfig
from llmos_server.jobs.run import Run
from llmos_server.jobs.supervisor import JobSupervisor
from llmos_server.settings import JobsSettings, Settings
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import open_store

PROCESSES = SubprocessJobs([sys.executable, str(Path(counting.__file__))])
SECONDS = 40


class ThreadJobs:
    """Runs jobs in threads of this process, which can't be killed."""

    async def launch(self, config: ProcessConfig, log: Path, threads: int) -> ThreadJob:
        return ThreadJob(config)


class ThreadJob:
    pid = 0

    def __init__(self, config: ProcessConfig) -> None:
        self._run: Run | None = None
        self._ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def work() -> None:
            run_job(config, lambda kind: counting.run, self._note)
            loop.call_soon_threadsafe(self._ended.set)

        threading.Thread(target=work, daemon=True).start()

    def _note(self, run: Run) -> None:
        self._run = run

    async def wait(self) -> int:
        await self._ended.wait()
        return 0

    def stop(self) -> None:
        if self._run is not None:
            self._run.interrupt()

    def kill(self) -> None:
        raise AssertionError("a thread can't be killed")


class Server:
    def __init__(self, store: Any, supervisor: JobSupervisor) -> None:
        self.store = store
        self.supervisor = supervisor
        self.queue = store.jobs
        self.queue.listen(supervisor.wake)

    async def job(self, job_id: str) -> Job:
        found = await self.store.jobs.get(EVERYBODY, job_id)
        assert found is not None
        return found

    async def until(self, job_id: str, good: Callable[[Job], bool] = lambda job: job.status in ENDED) -> Job:
        async with asyncio.timeout(SECONDS):
            while not good(job := await self.job(job_id)):
                await asyncio.sleep(0.02)
        return job


@asynccontextmanager
async def job_server(
    home: Path, launcher: JobLauncher, lender: Lender | None = None, **jobs: Any
) -> AsyncIterator[Server]:
    """jobs: settings."""
    settings = Settings(home=home, jobs=JobsSettings(**jobs))
    async with open_store(settings) as store:
        await store.serve()
        supervisor = JobSupervisor(
            store.job_leases,
            store.presence,
            settings,
            "http://127.0.0.1:1",
            JobBadges(),
            launcher=launcher,
            lender=lender,
        )
        await supervisor.start()
        try:
            yield Server(store, supervisor)
        finally:
            await supervisor.stop()


async def serve_for_ever(home: Path, launcher: JobLauncher, **jobs: Any) -> None:
    async with job_server(home, launcher, **jobs):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve_for_ever(Path(sys.argv[1]), PROCESSES))
