"""Jobs of this LLMOS_HOME, from a terminal: added, followed, and run here while no server of the home does it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from llmos_server.adapter_contracts import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from llmos_server.cores import num_usable_cores
from llmos_server.engine.memory import default_budget_bytes, memory_limit
from llmos_server.errors import InvalidRequest, StorageFull
from llmos_server.files.job_folders import JobFolders
from llmos_server.job_contracts import ENDED, Job, JobEvent
from llmos_server.jobs.memory_bound import with_bound
from llmos_server.jobs.supervisor import JobSupervisor
from llmos_server.settings import Settings
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import Store, open_store

LOOK_SECONDS = 0.5
EVENTS_AT_A_TIME = 200
NOWHERE = "http://127.0.0.1:9"
"""Where jobs that ask a server for something find none."""

Fill = Callable[[Path], None]


class Watcher(Protocol):
    """Whoever follows a job."""

    def show(self, job: Job, events: list[JobEvent]) -> None:
        """What is new; events may be empty."""
        ...

    def close(self) -> None:
        """Nothing more is shown."""
        ...


class _NoBadges:
    """There is no server that would ask for one."""

    def issue(self, owner: str) -> str:
        return ""

    def withdraw(self, badge: str) -> None: ...


async def add_job(settings: Settings, job: Job, fill: Fill) -> None:
    """fill: writes the job's files into its folder, before the job is there."""
    folders = JobFolders(settings.home)
    async with open_store(settings) as store:
        try:
            fill(folders.make(job.id))
            await store.jobs.add(job)
        except OSError as error:
            folders.remove(job.id)
            raise StorageFull(f"The job's files can't be kept: {error.strerror}. Free space on the disk.") from error
        except BaseException:
            folders.remove(job.id)
            raise


async def newest_jobs(settings: Settings, most: int) -> list[Job]:
    async with open_store(settings) as store:
        return (await store.jobs.page(EVERYBODY, limit=most)).jobs


async def steer(settings: Settings, job_id: str, wish: str) -> Job:
    """wish: "cancel", "pause" or "resume". As it is then. Raises InvalidRequest for a job that can't be steered so."""
    async with open_store(settings) as store:
        if wish == "resume":
            found = await store.jobs.resume(EVERYBODY, job_id)
        else:
            found = await store.jobs.wish(EVERYBODY, job_id, "cancel" if wish == "cancel" else "pause")
        return _require(found, job_id)


async def copy_adapter(settings: Settings, name: str, target: Path) -> None:
    """As PEFT reads it. Raises InvalidRequest where the name is no adapter's."""
    async with open_store(settings) as store:
        found = await store.adapters.find("", name)
    if found is None:
        raise InvalidRequest(f"{name} is no adapter, so it isn't copied to {target}. Its files: llmos show {name}")
    target.mkdir(parents=True, exist_ok=True)
    for file in (ADAPTER_CONFIG, ADAPTER_WEIGHTS):
        shutil.copyfile(Path(found.folder, file), target / file)


def _require(job: Job | None, job_id: str) -> Job:
    if job is None:
        raise InvalidRequest(f"There is no job {job_id!r} in this database. List them with: llmos jobs list")
    return job


async def follow(settings: Settings, job_id: str, watcher: Watcher, *, runs_here: bool, pauses: bool = True) -> Job:
    """Until it has ended or is paused. runs_here: no server does it, so this process starts the job's.

    pauses: interrupted, it pauses the job, which goes on when it is resumed. Raises InvalidRequest for an unknown one.
    """
    async with open_store(settings) as store, _supervised(store, settings, runs_here) as supervisor:
        try:
            return await _follow(store, job_id, watcher)
        except asyncio.CancelledError:
            watcher.close()
            if pauses:
                await store.jobs.wish(EVERYBODY, job_id, "pause")
            if supervisor is not None:
                await _until_paused(store, job_id)
            raise
        finally:
            watcher.close()


async def _until_paused(store: Store, job_id: str) -> None:
    """Its process writes a checkpoint first."""
    while (job := await store.jobs.get(EVERYBODY, job_id)) is not None and job.status in ("queued", "running"):
        await asyncio.sleep(LOOK_SECONDS)


async def _follow(store: Store, job_id: str, watcher: Watcher) -> Job:
    last = 0
    while True:
        job = _require(await store.jobs.get(EVERYBODY, job_id), job_id)
        events = await store.job_events.list(EVERYBODY, job_id, after=last, limit=EVENTS_AT_A_TIME)
        last = events[-1].number if events else last
        watcher.show(job, events)
        if len(events) < EVENTS_AT_A_TIME:
            if job.status in (*ENDED, "paused"):
                return job
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def _supervised(store: Store, settings: Settings, runs_here: bool) -> AsyncIterator[JobSupervisor | None]:
    if not runs_here:
        yield None
        return
    await store.presence.start()
    alone = with_bound(_only_tunes(settings), default_budget_bytes(memory_limit()))
    supervisor = JobSupervisor(store.job_leases, store.presence, alone, NOWHERE, _NoBadges())
    await supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.stop()


def _only_tunes(settings: Settings) -> Settings:
    """One at a time, and the machine is its own."""
    threads = settings.jobs.threads or num_usable_cores()
    return replace(
        settings, jobs=replace(settings.jobs, enabled=True, max_tunes=1, max_batches=0, max_evals=0, threads=threads)
    )
