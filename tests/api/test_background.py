"""The list of responses that are being made in the background."""

from __future__ import annotations

import pytest

from llmos_server.api.background import BackgroundJobs
from llmos_server.api.errors import QueueFull


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
