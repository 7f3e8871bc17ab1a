"""What a job's code sees, over a real database."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

import msgspec
import pytest
from job_fakes import job_context, read_job
from sqlalchemy import select

from llmos_server.job_contracts import Cancelled, JobFailed, LeaseLost, Paused
from llmos_server.store.database import Database
from llmos_server.store.store import Store
from llmos_server.store.tables import PinnedModel


class Payload(msgspec.Struct):
    steps: int


def registering(name: str):
    """Something that a job registers; a second one of the same name is an error."""

    async def write(connection) -> None:
        await connection.execute(PinnedModel.__table__.insert().values(name=name, created=1))

    return write


async def registered(connection) -> list[str]:
    return list((await connection.execute(select(PinnedModel.name))).scalars())


def in_store(home: Path, act):
    """What act(store) returns."""

    async def run():
        store = Store(Database(home))
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(run())


def check_until_stopped(context) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        context.check()
        time.sleep(0.01)


def test_a_job_from_its_payload_to_its_result(tmp_path: Path) -> None:
    with job_context(tmp_path, "tune", {"steps": 2}, owner="a") as context:
        assert context.payload(Payload) == Payload(2)
        assert context.folder == tmp_path / "jobs" / "job_1"
        context.log("begun", data={"n": 1})
        context.metrics(1, {"loss": 2.5, "norm": math.nan})
        context.progress(0.5, "half", {"seen": 1})
        context.check()
        context.checkpoint(registering("half"))
        assert context.read(registered) == ["half"]
        seen = read_job(tmp_path, "a")
        assert (seen.progress, seen.detail, seen.result, seen.attempts) == (0.5, "half", b'{"seen":1}', 0)
        context.metrics(2, {"loss": 2.0})
        context.finish({"seen": 2}, registering("whole"))
        assert context.read(registered) == ["half", "whole"]
        with pytest.raises(LeaseLost):
            context.finish({"seen": 3}, registering("third"))
        assert context.read(registered) == ["half", "whole"]
    job = read_job(tmp_path, "a")
    assert (job.status, job.progress, job.result, job.wish) == ("succeeded", 1.0, b'{"seen":2}', "")
    events = in_store(tmp_path, lambda store: store.job_events.list("a", "job_1", limit=10))
    assert [(event.number, event.type, event.message) for event in events] == [
        (1, "message", "begun"),
        (2, "metrics", "Step 1: loss=2.5, norm=nan"),
        (3, "metrics", "Step 2: loss=2"),
    ]
    assert events[1].data == {"step": 1, "loss": 2.5, "norm": None}
    later = in_store(tmp_path, lambda store: store.job_events.list("a", "job_1", after=3, order="desc", limit=1))
    assert [event.number for event in later] == [2]
    assert in_store(tmp_path, lambda store: store.job_events.list("b", "job_1", limit=10)) == []


def test_a_registration_that_fails_takes_all_with_it(tmp_path: Path) -> None:
    with job_context(tmp_path, "tune", None) as context:
        with pytest.raises(Exception, match="UNIQUE"):
            context.finish({}, registering("twice"), registering("twice"))
        assert context.read(registered) == []
        context.finish({}, registering("twice"))
    assert read_job(tmp_path).status == "succeeded"


@pytest.mark.parametrize(("wish", "raised"), [("pause", Paused), ("cancel", Cancelled)])
def test_wishes_are_known_at_the_next_check(tmp_path: Path, wish, raised) -> None:
    with job_context(tmp_path, "tune", None) as context:
        asked = in_store(tmp_path, lambda store: store.jobs.wish("", "job_1", wish))
        assert (asked.status, asked.wish) == ("running", wish)
        with pytest.raises(raised):
            check_until_stopped(context)


def test_a_run_that_was_given_up_writes_nothing_more(tmp_path: Path) -> None:
    with job_context(tmp_path, "tune", None) as orphan:
        orphan.log("of the orphan")
        with job_context(tmp_path, "tune", None) as context:
            assert context.job.epoch == orphan.job.epoch + 1
            for late in (lambda: orphan.write(registering("late")), lambda: orphan.finish({}, registering("late"))):
                with pytest.raises(LeaseLost):
                    late()
            with pytest.raises(LeaseLost):
                check_until_stopped(orphan)
            context.finish("mine", registering("once"))
            assert context.read(registered) == ["once"]
    job = read_job(tmp_path)
    assert (job.result, job.epoch) == (b'"mine"', 2)


def test_a_payload_of_another_shape_fails_the_job(tmp_path: Path) -> None:
    with job_context(tmp_path, "tune", {"steps": "many"}) as context:
        with pytest.raises(JobFailed) as failed:
            context.payload(Payload)
        assert failed.value.code == "unreadable_payload"
