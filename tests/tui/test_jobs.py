"""The screen of jobs."""

from __future__ import annotations

from typing import Any

import pytest
import tui_data
from llmos_tui.screens.dialog import ConfirmScreen
from llmos_tui.screens.record import RecordScreen
from llmos_tui.widgets.graph import Graph
from llmos_tui.widgets.job_panel import JobPanel, label, whole
from llmos_tui.widgets.job_table import JobTable
from tui_fake_server import FakeServer, Refusal, Stream
from tui_snapshots import SIZES, check_snapshot

from llmos_server.api.schemas.admin_jobs import JobDetails, JobInfo, JobList

NOW = tui_data.NOW


def job(id: str, **changes: Any) -> JobInfo:
    facts = {"kind": "pull", "title": "hf:org/big", "state": "running", "created": NOW - 40, "started": NOW - 38}
    return JobInfo(id=id, **{**facts, **changes})


JOBS = [
    job("job-1", progress=0.42, detail="model.safetensors: 4.2 of 10 GB"),
    job("resp_2", kind="response", title="smollm2:135m, alice", state="queued", started=None),
    job("job-3", state="failed", ended=NOW - 20, error="The hub doesn't answer.", title="hf:org/gone"),
]


def details(row: JobInfo, **changes: Any) -> JobDetails:
    return JobDetails(**{**{name: getattr(row, name) for name in row.__struct_fields__}, **changes})


@pytest.fixture(autouse=True)
def jobs(server: FakeServer) -> Stream:
    curve = [(float(step), 4.0 / (1 + step / 20)) for step in range(200)]
    metrics = {"loss": curve, "bytes": [(second, 1e8 * second) for second in range(38)]}
    log = ["looking at the hub", "12 files", "model.safetensors"]
    server.stream("GET", "/admin/v1/jobs/job-1", ("job", details(JOBS[0], log=log, metrics=metrics)))
    server.stream("GET", "/admin/v1/jobs/resp_2", ("job", details(JOBS[1])))
    server.stream("GET", "/admin/v1/jobs/job-3", ("job", details(JOBS[2], log=["looking at the hub"])))
    return server.stream("GET", "/admin/v1/jobs", ("jobs", JobList(data=JOBS)))


def text(pilot) -> str:
    return pilot.app.screen.query_one("#job-text").render().plain


@pytest.mark.parametrize("size", SIZES)
async def test_as_it_looks(open_app, size, wait_for) -> None:
    async with open_app(size=size, place="jobs") as pilot:
        await wait_for(pilot, lambda: "12 files" in text(pilot))
        await check_snapshot(pilot, "jobs")


async def test_the_job_with_the_cursor_is_followed(open_app, server: FakeServer, jobs: Stream, wait_for) -> None:
    async with open_app(place="jobs") as pilot:
        await wait_for(pilot, lambda: "12 files" in text(pilot))
        graphs = [graph for graph in pilot.app.screen.query(Graph) if graph.display]
        assert len(graphs) == 2
        many = {name: [(0.0, 1.0)] for name in ("loss", "lr", "grad", "norm")}
        server.feed("/admin/v1/jobs/job-1").send("job", details(JOBS[0], log=["12 files, again"], metrics=many))
        panel = pilot.app.screen.query_one(JobPanel)
        await wait_for(pilot, lambda: panel.border_subtitle == "1 more metrics: enter")
        await pilot.press("enter")
        assert "norm 1 at 0, 1 to 1" in pilot.app.export_screenshot().replace("&#160;", " ")
        await pilot.press("escape")
        await pilot.press("down")
        await wait_for(pilot, lambda: text(pilot) == "It has no log.")
        assert server.feed("/admin/v1/jobs/job-1").num_readers == 0
        await pilot.press("down")
        await wait_for(pilot, lambda: text(pilot).endswith("It failed: The hub doesn't answer."))
        feed = server.feed("/admin/v1/jobs/job-3")
        feed.send("job", details(JOBS[2], log=["another line"]))
        await wait_for(pilot, lambda: "another line" in text(pilot))
        jobs.send("jobs", JobList(data=[job("job-1", state="done", ended=NOW)]))
        await wait_for(pilot, lambda: len(pilot.app.screen.query_one(JobTable).rows) == 1)
        await wait_for(pilot, lambda: "12 files" in text(pilot))


async def test_a_job_is_cancelled_after_a_question(open_app, server: FakeServer, wait_for) -> None:
    server.on("POST", "/admin/v1/jobs/{}/cancel", lambda asked: details(JOBS[1], state="cancelled"))
    async with open_app(place="jobs") as pilot:
        await wait_for(pilot, lambda: pilot.app.screen.query_one(JobTable).rows)
        await pilot.press("down", "x")
        assert isinstance(pilot.app.screen, ConfirmScreen)
        await pilot.press("y")
        await wait_for(pilot, lambda: pilot.app._notifications)
        assert [asked.parts for asked in server.asked if asked.method == "POST"] == [("resp_2",)]
        await pilot.press("down", "x")  # It has ended.
        assert pilot.app.screen.place_name == "jobs"
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, RecordScreen)
        shown = pilot.app.export_screenshot().replace("&#160;", " ").replace("&#x27;", "'")
        assert "The hub doesn't answer." in shown


async def test_a_job_is_paused_and_goes_on(open_app, server: FakeServer, jobs: Stream, wait_for) -> None:
    tune = job("ftjob-1", kind="tune", can_pause=True)
    for what in ("pause", "resume"):
        server.on("POST", f"/admin/v1/jobs/{{}}/{what}", lambda asked: details(tune))
    server.stream("GET", "/admin/v1/jobs/ftjob-1", ("job", details(tune)))
    async with open_app(place="jobs") as pilot:
        table = pilot.app.screen.query_one(JobTable)
        for state in ("running", "paused"):
            jobs.send("jobs", JobList(data=[job("ftjob-1", kind="tune", can_pause=True, state=state)]))
            await wait_for(pilot, lambda state=state: [row.state for row in table.rows] == [state])
            await pilot.press("p")
        await wait_for(pilot, lambda: len(pilot.app._notifications) == 2)
        posted = [asked.path.rpartition("/")[2] for asked in server.asked if asked.method == "POST"]
        assert posted == ["pause", "resume"]


async def test_that_it_ended_meanwhile_is_told(open_app, server: FakeServer, wait_for) -> None:
    server.on("POST", "/admin/v1/jobs/{}/cancel", Refusal(400, "It has ended.", "job_has_ended"))
    async with open_app(place="jobs") as pilot:
        await wait_for(pilot, lambda: pilot.app.screen.query_one(JobTable).rows)
        await pilot.press("x", "y")
        await wait_for(pilot, lambda: pilot.app._notifications)
        assert [n.message for n in pilot.app._notifications] == ["It has ended."]


async def test_durations_are_by_the_servers_clock(open_app, jobs: Stream, wait_for) -> None:
    async with open_app(place="jobs", clock=None) as pilot:
        table = pilot.app.screen.query_one(JobTable)
        await wait_for(pilot, lambda: pilot.app.screen._ahead_seconds)
        jobs.send("jobs", JobList(data=JOBS[:2]))
        await wait_for(pilot, lambda: len(table.rows) == 2)
        assert 38 <= table.now - JOBS[0].started < 3600


def test_a_curve_is_shown_whole() -> None:
    assert whole([1.0, 2.0, 3.0, 4.0], 2) == [1.5, 3.5]
    assert whole([1.0, 2.0], 4) == [1.0, 1.0, 2.0, 2.0]
    assert whole([], 4) == whole([1.0], 0) == []
    assert label("loss", [(0, 4.0), (1500, 0.51234)]) == "loss 0.5123 at 1500, 0.5123 to 4"
    assert label("bytes", [(3, 2e6)]) == "bytes 2.0 MB at 3, 2.0 MB to 2.0 MB"
    assert label("empty", []) == "empty"
