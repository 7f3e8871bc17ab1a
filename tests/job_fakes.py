"""A job's context over a real database, for tests of what jobs do: in this process, with no server around it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from migrated import migrate

from llmos_server.files.job_folders import JobFolders
from llmos_server.job_contracts import Job, JobKind, ServerAddress
from llmos_server.jobs.context import RunContext, call_in, event_loop, watched
from llmos_server.jobs.run import Run
from llmos_server.settings import Settings
from llmos_server.store.database import Database
from llmos_server.store.store import Store

NOWHERE = ServerAddress("http://127.0.0.1:1", "none")


def make_job(job_id: str, kind: JobKind = "batch", payload: Any = None, **fields: Any) -> Job:
    given = {"owner": "", "title": "a test's", "created": time.time_ns() // 1_000_000, **fields}
    return Job(id=job_id, kind=kind, payload=msgspec.json.encode(payload), **given)


@contextmanager
def job_context(
    home: Path,
    kind: JobKind,
    payload: Any,
    *,
    owner: str = "",
    job_id: str = "job_1",
    settings: Settings | None = None,
    server: ServerAddress = NOWHERE,
) -> Iterator[RunContext]:
    """A claimed job of a database in `home`, which is there afterwards: see read_job. Opened once more, it is begun
    once more, as after a crash."""
    settings = settings or Settings(home=home)
    with event_loop() as loop:
        store = Store(Database(home))
        folder = JobFolders(home).make(job_id)
        try:
            run = call_in(loop, _begin(store, make_job(job_id, kind, payload, owner=owner), settings))
            with watched(run, loop):
                yield RunContext(run, folder, settings, server, store.database, loop)
        finally:
            call_in(loop, store.close())


async def _begin(store: Store, job: Job, settings: Settings) -> Run:
    await migrate(store.database)
    now = time.time_ns() // 1_000_000
    found = await store.jobs.get(job.owner, job.id)
    if found is None:
        await store.jobs.add(job)
    for hold in await store.job_leases.lost(await store.job_leases.runners(), "nobody", now):
        await store.job_leases.give_back(hold, "a test", now, 100)
    claimed = await store.job_leases.claim("test", [job.kind], now + 10_000_000, 60_000)
    assert claimed is not None
    assert claimed.id == job.id
    return Run(claimed, store.job_leases, settings.jobs.lease_seconds, settings.jobs.max_attempts)


def read_job(home: Path, owner: str = "", job_id: str = "job_1") -> Job:
    """As the database has it."""

    async def read() -> Job:
        store = Store(Database(home))
        try:
            found = await store.jobs.get(owner, job_id)
            assert found is not None
            return found
        finally:
            await store.close()

    with event_loop() as loop:
        return call_in(loop, read())
