"""The list of responses that are being made in the background."""

from __future__ import annotations

import pytest

from llmos_server.api.background import MAX_ENDED, BackgroundJobs
from llmos_server.api.errors import QueueFull
from llmos_server.api.schemas.admin_jobs import JobDetails


class FakeJob:
    def __init__(self, fails: bool = False) -> None:
        self.ended = ""
        self.fails = fails

    async def cancel(self) -> None:
        self.ended = "cancelled"

    async def stop(self) -> None:
        if self.fails:
            raise RuntimeError
        self.ended = "stopped"

    def look(self) -> JobDetails:
        state = {"": "running", "cancelled": "cancelled", "stopped": "failed"}[self.ended]
        return JobDetails(id="r", kind="response", title="x", state=state, created=1.0)

    async def follow(self, starting_after: int):
        yield b""


async def test_each_owner_finds_its_own():
    jobs, job = BackgroundJobs(), FakeJob()
    jobs.add("a", "r", job)
    assert (jobs.find("a", "r"), jobs.find("b", "r"), jobs.find("a", "s")) == (job, None, None)
    await jobs.cancel("b", "r")
    assert job.ended == ""
    await jobs.cancel("a", "r")
    assert job.ended == "cancelled"
    jobs.remove("a", "r")
    jobs.remove("a", "r")
    assert len(jobs) == 0
    assert jobs.list() == []


async def test_all_are_listed_and_the_last_that_have_ended():
    jobs, job = BackgroundJobs(), FakeJob()
    jobs.add("a", "r", job)
    assert [one.state for one in jobs.list()] == ["running"]
    await jobs.cancel_by_id("other")
    assert job.ended == ""
    await jobs.cancel_by_id("r")
    jobs.end("a", "r")
    jobs.end("a", "r")
    [ended] = jobs.list()
    assert (ended.state, len(jobs)) == ("cancelled", 0)
    for _ in range(MAX_ENDED + 5):
        jobs.add("a", "r", FakeJob())
        jobs.end("a", "r")
    assert len(jobs.list()) == MAX_ENDED


async def test_one_too_many_is_refused():
    jobs = BackgroundJobs(max_jobs=1)
    jobs.add("a", "r", FakeJob())
    with pytest.raises(QueueFull, match="1 responses"):
        jobs.add("b", "s", FakeJob())


async def test_all_are_stopped_whatever_one_does():
    jobs, all_of_them = BackgroundJobs(), [FakeJob(), FakeJob(fails=True), FakeJob()]
    for number, job in enumerate(all_of_them):
        jobs.add("a", str(number), job)
    await jobs.stop()
    assert [job.ended for job in all_of_them] == ["stopped", "", "stopped"]
