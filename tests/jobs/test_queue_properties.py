"""Whatever servers and runs do, in whatever order: no job is lost, none is finished twice, and what a run writes that
was given up changes nothing."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule
from job_fakes import make_job
from migrated import migrate
from sqlalchemy import select, text

from llmos_server.job_contracts import ENDED, JobError, LeaseLost
from llmos_server.store.database import Database
from llmos_server.store.job_leases import Hold, hold_of
from llmos_server.store.job_tables import JobRow
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import Store

SERVERS = ("one", "two")
LEASE = 30_000
MAX_ATTEMPTS = 3
DONE = text("CREATE TABLE done (job_id TEXT)")


class Queue(RuleBasedStateMachine):
    jobs: Bundle[str] = Bundle("jobs")
    holds: Bundle[Hold] = Bundle("holds")
    """Of all runs that there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.store = Store(Database(Path(self.folder.name)))
        self.now = 1_000_000_000
        self.number = 0
        self.current: dict[str, Hold] = {}
        """Whose each running job is."""
        self.succeeded: Counter[str] = Counter()
        self.wait_for(self.set_up())

    async def set_up(self) -> None:
        await migrate(self.store.database)
        async with self.store.database.write() as connection:
            await connection.execute(DONE)

    def wait_for(self, awaitable: Any) -> Any:
        return self.loop.run_until_complete(awaitable)

    def is_current(self, hold: Hold) -> bool:
        return self.current.get(hold.job_id) == hold

    def expecting(self, hold: Hold, awaitable: Any) -> bool:
        """Whether it worked, which it has to for the job's own run, and for no other."""
        try:
            self.wait_for(awaitable)
        except LeaseLost:
            assert not self.is_current(hold)
            return False
        assert self.is_current(hold)
        return True

    @rule(target=jobs, owner=st.sampled_from(["a", "b"]), priority=st.integers(0, 1))
    def add(self, owner: str, priority: int) -> str:
        self.number += 1
        name = f"job_{self.number}"
        self.wait_for(self.store.jobs.add(make_job(name, "tune", owner=owner, priority=priority, created=self.now)))
        return name

    @rule(target=holds, server=st.sampled_from(SERVERS))
    def claim(self, server: str) -> Any:
        job = self.wait_for(self.store.job_leases.claim(server, ["tune"], self.now, LEASE))
        if job is None:
            return multiple()
        assert job.id not in self.current
        self.current[job.id] = hold_of(job)
        return hold_of(job)

    @rule(hold=holds, is_checkpoint=st.booleans())
    def write(self, hold: Hold, is_checkpoint: bool) -> None:
        values = {"attempts": 0} if is_checkpoint else {}
        self.expecting(hold, self.store.job_leases.write(hold, values, lease_until=self.now + LEASE))

    @rule(hold=holds)
    def succeed(self, hold: Hold) -> None:
        async def register(connection: Any) -> None:
            await connection.execute(text("INSERT INTO done VALUES (:id)"), {"id": hold.job_id})

        if self.expecting(hold, self.store.job_leases.succeed(hold, b"{}", self.now, writes=[register])):
            self.succeeded[hold.job_id] += 1
            del self.current[hold.job_id]

    @rule(hold=holds)
    def fail(self, hold: Hold) -> None:
        if self.expecting(hold, self.store.job_leases.fail(hold, JobError("bad", "bad"), self.now)):
            del self.current[hold.job_id]

    @rule(hold=holds, most=st.sampled_from([None, MAX_ATTEMPTS]))
    def give_back(self, hold: Hold, most: int | None) -> None:
        if self.expecting(hold, self.store.job_leases.give_back(hold, "it died", self.now, most)):
            del self.current[hold.job_id]

    @rule(job=jobs, wish=st.sampled_from(["pause", "cancel"]))
    def wish(self, job: str, wish: Any) -> None:
        before = self.wait_for(self.store.jobs.get(EVERYBODY, job))
        after = self.wait_for(self.store.jobs.wish(EVERYBODY, job, wish))
        if before.status in ENDED:
            assert after == before
        elif before.status == "running":
            assert after.status == "running"
            assert after.wish == ("cancel" if before.wish == "cancel" else wish)
        else:
            assert after.status == ("cancelled" if wish == "cancel" else "paused")

    @rule(job=jobs)
    def resume(self, job: str) -> None:
        before = self.wait_for(self.store.jobs.get(EVERYBODY, job))
        after = self.wait_for(self.store.jobs.resume(EVERYBODY, job))
        assert after.status == ("queued" if before.status == "paused" else before.status)

    @rule(seconds=st.sampled_from([1, 5, 29, 31, 400]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * 1000

    @rule(mine=st.sampled_from(SERVERS), is_other_gone=st.booleans())
    def take_up(self, mine: str, is_other_gone: bool) -> None:
        gone = {name for name in SERVERS if name != mine} if is_other_gone else set()
        for hold in self.wait_for(self.store.job_leases.lost(gone, mine, self.now)):
            assert self.is_current(hold)
            self.wait_for(self.store.job_leases.give_back(hold, "its server ended", self.now, MAX_ATTEMPTS))
            del self.current[hold.job_id]

    @invariant()
    def the_rows_say_the_same(self) -> None:
        async def read() -> Any:
            async with self.store.database.read() as connection:
                rows = (await connection.execute(select(JobRow.__table__))).all()
                done = (await connection.execute(text("SELECT job_id FROM done"))).scalars().all()
            return rows, done

        rows, done = self.wait_for(read())
        assert Counter(done) == self.succeeded
        assert max(self.succeeded.values(), default=1) == 1
        assert len(rows) == self.number
        for row in rows:
            assert (row.status == "running") == (row.id in self.current)
            assert (row.status == "succeeded") == (row.id in self.succeeded)
            assert (row.runner is not None) == (row.status == "running")
            assert (row.ended is not None) == (row.status in ENDED)
            assert row.status == "running" or not row.wish
            assert row.attempts <= MAX_ATTEMPTS

    def teardown(self) -> None:
        """Whatever has happened: as soon as somebody does the work, all of it gets done."""
        try:
            for hold in list(self.current.values()):
                self.give_back(hold, None)
            self.now += 1_000_000
            for number in range(1, self.number + 1):
                self.wait_for(self.store.jobs.resume(EVERYBODY, f"job_{number}"))
            while (job := self.wait_for(self.store.job_leases.claim("one", ["tune"], self.now, LEASE))) is not None:
                self.current[job.id] = hold_of(job)
                self.succeed(hold_of(job))
            page = self.wait_for(self.store.jobs.page(EVERYBODY, limit=1000))
            assert all(job.status in ENDED for job in page.jobs)
        finally:
            self.wait_for(self.store.close())
            self.loop.close()
            self.folder.cleanup()


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
