"""What becomes of jobs when they end, are asked to, and when servers stop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import job_servers
import pytest
from counting import Count
from job_fakes import make_job
from job_servers import PROCESSES, Server, ThreadJobs, job_server
from sqlalchemy import select

from llmos_server.files.job_folders import JobFolders
from llmos_server.jobs.sweeping import JobSweeping
from llmos_server.settings import Settings
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import open_store
from llmos_server.store.tables import PinnedModel


async def add(server: Server, job_id: str = "job_1", kind: Any = "tune", owner: str = "", **count: Any) -> None:
    await server.queue.add(make_job(job_id, kind, Count(**count), owner=owner))


async def registered(server: Server) -> list[str]:
    async with server.store.database.read() as connection:
        return sorted((await connection.execute(select(PinnedModel.name))).scalars())


async def messages(server: Server, job_id: str = "job_1") -> list[str]:
    events = await server.store.job_events.list(EVERYBODY, job_id, type="message", limit=100)
    return [event.message for event in events]


async def test_a_job_is_done(tmp_path: Path) -> None:
    async with job_server(tmp_path, ThreadJobs()) as server:
        await add(server, steps=3)
        job = await server.until("job_1")
        assert (job.status, job.result, job.progress) == ("succeeded", b'{"steps":3,"epoch":1}', 1.0)
        assert job.created <= job.started <= job.ended
        assert await registered(server) == ["job_1"]


@pytest.mark.parametrize(
    ("raises", "code", "said"),
    [
        ("failed", "nan_loss", "The loss is no number."),
        ("bug", "internal_error", "ValueError: a bug"),
        ("exit", "internal_error", "SystemExit: 3"),
        ("full", "disk_full", "disk is full"),
    ],
)
async def test_a_job_that_raises_has_failed_and_says_why(tmp_path: Path, raises: str, code: str, said: str) -> None:
    async with job_server(tmp_path, ThreadJobs()) as server:
        await add(server, steps=3, raises=raises)
        job = await server.until("job_1")
        assert (job.status, job.error.code, job.attempts) == ("failed", code, 1)
        assert said in job.error.message
        assert job.error.param == ("learning_rate" if raises == "failed" else None)


async def test_an_unreadable_payload_is_told(tmp_path: Path) -> None:
    async with job_server(tmp_path, ThreadJobs()) as server:
        await server.queue.add(make_job("job_1", "tune", {"of": "another version"}))
        job = await server.until("job_1")
        assert (job.status, job.error.code) == ("failed", "unreadable_payload")


async def test_a_paused_job_goes_on_where_it_was(tmp_path: Path) -> None:
    async with job_server(tmp_path, ThreadJobs()) as server:
        await add(server, steps=30, seconds=0.05)
        await server.until("job_1", lambda job: job.progress is not None)
        assert (await server.queue.wish(EVERYBODY, "job_1", "pause")).wish == "pause"
        paused = await server.until("job_1", lambda job: job.status == "paused")
        assert (paused.wish, paused.attempts) == ("", 0)
        steps = int((tmp_path / "jobs" / "job_1" / "step").read_text())
        assert 0 < steps < 30
        await server.queue.resume(EVERYBODY, "job_1")
        assert (await server.until("job_1")).result == b'{"steps":30,"epoch":2}'
        assert await messages(server) == ["goes on from 0", f"goes on from {steps}"]


async def test_a_cancelled_job_ends(tmp_path: Path) -> None:
    async with job_server(tmp_path, ThreadJobs()) as server:
        await add(server, steps=1000, seconds=0.05)
        await add(server, "job_2", steps=1)
        await server.until("job_1", lambda job: job.status == "running")
        assert (await server.queue.wish(EVERYBODY, "job_2", "cancel")).status == "cancelled"
        await server.queue.wish(EVERYBODY, "job_1", "cancel")
        assert (await server.until("job_1")).status == "cancelled"
        assert await registered(server) == []


async def test_owners_take_turns_and_kinds_have_room_of_their_own(tmp_path: Path) -> None:
    async with job_server(tmp_path, ThreadJobs(), max_tunes=2, max_batches=0) as server:
        await add(server, "batch", "batch", steps=1)
        for number, steps in enumerate((5, 30, 1)):
            await add(server, f"a{number}", owner="a", steps=steps, seconds=0.05)
        await add(server, "b0", owner="b", steps=1)
        await server.until("b0")
        assert (await server.job("batch")).status == "queued"
        for number in range(3):
            await server.until(f"a{number}")
        assert (await server.job("b0")).started <= (await server.job("a2")).started


async def test_a_server_that_stops_leaves_its_jobs_to_the_next(tmp_path: Path) -> None:
    async with job_server(tmp_path, ThreadJobs()) as server:
        await add(server, steps=30, seconds=0.05)
        await server.until("job_1", lambda job: job.progress is not None)
    async with job_server(tmp_path, ThreadJobs(), enabled=False) as server:
        job = await server.job("job_1")
        assert (job.status, job.attempts, job.epoch) == ("queued", 0, 1)
    async with job_server(tmp_path, ThreadJobs()) as server:
        assert (await server.until("job_1")).result == b'{"steps":30,"epoch":2}'
        assert await registered(server) == ["job_1"]


async def test_processes_that_die_or_hang(tmp_path: Path) -> None:
    """Real ones, all at once: one is killed and comes to its end, one doesn't stop, one takes too much memory."""
    limits = {"memory_bytes": 300 * 2**20, "max_tunes": 3, "stop_seconds": 0.2, "max_attempts": 1, "threads": 1}
    async with job_server(tmp_path, PROCESSES, **limits) as server:
        await add(server, "killed", steps=4, dies_at=[2])
        await add(server, "hangs", steps=1, hangs=True)
        await add(server, "large", steps=1000, seconds=0.1, takes=300 * 2**20)
        await server.until("hangs", lambda job: job.detail == "" and job.status == "running")
        await wait_for_log(tmp_path, "hangs", server)
        await server.queue.wish(EVERYBODY, "hangs", "cancel")
        assert (await server.until("hangs")).status == "cancelled"
        large = await server.until("large")
        assert (large.status, large.error.code, large.epoch) == ("failed", "memory_exceeded", 1)
        assert "jobs.memory_bytes allows 314572800" in large.error.message
        done = await server.until("killed")
        assert done.result == b'{"steps":4,"epoch":2}'
        assert await messages(server, "killed") == ["goes on from 0", "goes on from 2"]
        assert await registered(server) == ["killed"]


class FakeLender:
    """Has as many loans as it is told."""

    def __init__(self) -> None:
        self.may_lend = asyncio.Semaphore(0)
        self.lent: list[int] = []

    async def borrow(self, num_bytes: int) -> int:
        await self.may_lend.acquire()
        self.lent.append(num_bytes)
        return num_bytes

    def give_back(self, loan: int) -> None:
        self.lent.remove(loan)


async def test_a_tuning_job_waits_for_memory_and_gives_it_back(tmp_path: Path) -> None:
    lender, waits = FakeLender(), "waits for 2.5 GB of memory (jobs.memory_bytes)"
    async with job_server(tmp_path, ThreadJobs(), lender=lender, memory_bytes=25 * 10**8) as server:
        await add(server, steps=3, seconds=0.05)
        await add(server, "given_up", steps=1)
        await add(server, "batch", "batch", steps=1)
        assert (await server.until("batch")).status == "succeeded"
        await server.until("job_1", lambda job: job.detail == waits)
        assert (await server.job("given_up")).status == "queued"
        lender.may_lend.release()
        await server.until("job_1", lambda job: job.status == "running")
        assert lender.lent == [25 * 10**8]
        await server.until("job_1")
        await server.until("given_up", lambda job: job.detail == waits)
        given_up = await server.queue.wish(EVERYBODY, "given_up", "cancel")
        assert (given_up.status, given_up.detail) == ("cancelled", "")
        assert lender.lent == []


async def test_a_server_that_is_killed_leaves_no_orphan_and_its_job_to_the_next(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    script = [sys.executable, str(Path(job_servers.__file__)), str(tmp_path)]
    async with open_store(settings) as store:
        await store.jobs.add(make_job("job_1", "tune", Count(15, seconds=0.1)))
    async with job_server(tmp_path, ThreadJobs(), enabled=False) as watcher:
        killed = subprocess.Popen(script, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        await watcher.until("job_1", lambda job: job.progress is not None)
        pid = int((tmp_path / "jobs" / "job_1" / "pid").read_text())
        killed.kill()
        killed.wait()
    async with job_server(tmp_path, ThreadJobs()) as server:
        job = await server.until("job_1")
        assert job.result == b'{"steps":15,"epoch":2}'
        assert await registered(server) == ["job_1"]
        assert not Path(f"/proc/{pid}").exists()
        again = (await messages(server))[1]
        assert int(again.rpartition(" ")[2]) > 0


async def test_what_is_over_is_swept_away(tmp_path: Path) -> None:
    async with job_server(tmp_path, ThreadJobs(), enabled=False) as server:
        folders = JobFolders(tmp_path)
        now = time.time()
        for name, ended in (("old", now - 91 * 86400), ("young", now - 89 * 86400)):
            await server.queue.add(make_job(name, status="succeeded", ended=int(ended * 1000)))
            (folders.make(name) / "checkpoint").touch()
        os.utime(folders.make("nobodys"), (now - 4000, now - 4000))
        folders.make("new")
        await JobSweeping(server.store.jobs, folders, days=90).take_turn()
        assert (folders.unchanged_since(now + 60), await server.queue.all_ids()) == ({"young", "new"}, {"young"})


async def wait_for_log(home: Path, job_id: str, server: Server) -> None:
    async with asyncio.timeout(30):
        while "goes on from 0" not in await messages(server, job_id):
            await asyncio.sleep(0.02)
    assert (home / "jobs" / job_id / "log").stat().st_mode & 0o777 == 0o600
    assert (home / "jobs" / job_id).stat().st_mode & 0o777 == 0o700
