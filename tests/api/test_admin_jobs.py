"""/admin/v1/jobs: pulls and responses in the background, as one list; cancelled and followed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx2
import msgspec
import pytest
from job_fakes import make_job
from migrated import migrate

from llmos_server.access.gate import Gate
from llmos_server.access.keys import make_key
from llmos_server.api.app import create_api
from llmos_server.api.pulls import MAX_ENDED, MAX_LOG, Pulls
from llmos_server.api.schemas.admin_jobs import JobDetails
from llmos_server.api.served import ModelDirectory
from llmos_server.errors import PullError
from llmos_server.job_contracts import JobEvent
from llmos_server.settings import ApiSettings
from llmos_server.store.database import Database
from llmos_server.store.job_leases import hold_of
from llmos_server.store.store import Store

TOKEN = "llmos-admin-" + "t" * 43
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
URL = "/admin/v1/jobs"


async def until(job: Any, *states: str) -> dict[str, Any]:
    """job: an awaitable of one row, made anew."""
    async with asyncio.timeout(20):
        while (found := await job())["state"] not in states:
            await asyncio.sleep(0.005)
    return found


class FakeRegistry:
    """Pulls as it is told by `steps`: called with the progress."""

    def __init__(self, steps: Any) -> None:
        self.steps = steps

    def resolve(self, name: str) -> str:
        return name

    def pull(self, name: str, progress: Any) -> Any:
        return self.steps(name, progress)


@pytest.fixture
async def make_server():
    clients = []

    def make(steps: Any) -> httpx2.AsyncClient:
        admin = type("Admin", (), {"pulls": Pulls(FakeRegistry(steps)), "home_id": "x"})()
        app = create_api(ModelDirectory([], aliases={}), ApiSettings(), gate=Gate(admin_token=TOKEN), model_admin=admin)
        transport = httpx2.ASGITransport(app=app)
        clients.append(httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=ADMIN))
        clients[-1].pulls = admin.pulls
        return clients[-1]

    yield make
    for client in clients:
        await client.aclose()


async def test_a_pull_is_a_job_until_its_end(make_server):
    go_on = threading.Event()

    def steps(name: str, progress: Any) -> Any:
        progress.say("Asking")
        with progress.track("Downloading", 200) as track:
            track.update(50)
            go_on.wait(20)
        raise PullError("the hub is away")

    server = make_server(steps)
    server.pulls.listen("m")
    [row] = await wait_for_rows(server, lambda rows: rows and rows[0]["detail"] == "Downloading")
    assert (row["kind"], row["title"], row["state"], row["ended"]) == ("pull", "m", "running", None)
    assert "log" not in row
    one = (await server.get(f"{URL}/{row['id']}")).json()
    assert one["log"] == ["Asking", "Downloading"]
    assert one["progress"] == 0.0
    assert one["metrics"]["bytes"][0][1] == 0
    go_on.set()
    failed = await until(lambda: get(server, row["id"]), "failed")
    assert failed["error"] == "the hub is away"
    assert failed["ended"] >= failed["created"]
    again = await server.post(f"{URL}/{row['id']}/cancel")
    assert (again.status_code, again.json()["error"]["code"]) == (400, "job_has_ended")


async def get(server: Any, job_id: str) -> dict[str, Any]:
    reply = await server.get(f"{URL}/{job_id}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def wait_for_rows(server: Any, good: Any) -> list[dict[str, Any]]:
    async with asyncio.timeout(20):
        while not good(rows := (await server.get(URL)).json()["data"]):
            await asyncio.sleep(0.005)
    return rows


async def test_a_pull_is_cancelled(make_server):
    def steps(name: str, progress: Any) -> Any:
        with progress.track("Downloading", None) as track:
            while True:
                track.update(1)

    server = make_server(steps)
    told = server.pulls.listen("m")
    [row] = await wait_for_rows(server, bool)
    assert row["progress"] is None
    assert (await server.post(f"{URL}/{row['id']}/cancel")).status_code == 200
    ended = await until(lambda: get(server, row["id"]), "cancelled")
    assert "cancelled by an administrator" in ended["error"]
    events = []
    while (event := await asyncio.wait_for(told.get(), 20)) is not None:
        events.append(event)
    assert "cancelled by an administrator" in events[-1].message
    assert events[-1].code == "aborted_by_administrator"
    assert server.pulls.listen("m") is not told  # It can be pulled anew.
    [running, _] = await wait_for_rows(server, lambda rows: len(rows) == 2)
    assert running["state"] == "running"
    await server.post(f"{URL}/{running['id']}/cancel")


async def test_what_has_ended_is_told_for_a_while(make_server):
    def steps(name: str, progress: Any) -> Any:
        for number in range(MAX_LOG + 5):
            progress.say(str(number))
        raise PullError("no")

    server = make_server(steps)
    for number in range(MAX_ENDED + 10):
        told = server.pulls.listen(str(number))
        while await asyncio.wait_for(told.get(), 20) is not None:
            pass
    rows = (await server.get(URL)).json()["data"]
    assert len(rows) == MAX_ENDED + 1
    assert rows[0]["title"] == str(MAX_ENDED + 9)
    log = (await get(server, rows[0]["id"]))["log"]
    assert (len(log), log[-1]) == (MAX_LOG, str(MAX_LOG + 4))


async def test_a_real_pull(house):
    house.files.write_gguf(house.folder / "new.gguf")
    name = f"file:{house.folder}/new.gguf"
    assert "[DONE]" in (await house.http.post("/admin/v1/models/pull", json={"model": name})).text
    [row] = (await house.http.get(URL)).json()["data"]
    assert (row["title"], row["state"], row["progress"], row["error"]) == (name, "done", 1.0, None)


@pytest.fixture
async def answering(make_api, tmp_path):
    store = Store(Database(tmp_path))
    await migrate(store.database)
    key, text = make_key("laptop", 1)
    await store.keys.add(key)
    api = make_api("Hello", store=store, gate=Gate(store.keys, admin_token=TOKEN))
    api.generator_store = store
    api.user = {"Authorization": f"Bearer {text}"}
    yield api
    await store.close()


async def test_background_responses_are_jobs(answering):
    async def respond() -> str:
        body = {"input": "a secret question", "background": True}
        return (await answering.post("/v1/responses", body, headers=answering.user)).json()["id"]

    async def job(job_id: str) -> dict[str, Any]:
        return (await answering.http.get(f"{URL}/{job_id}", headers=ADMIN)).json()

    answering.generator.gate = asyncio.Event()
    first, second = await respond(), await respond()
    running = await until(lambda: job(first), "running")
    assert (running["kind"], running["title"]) == ("response", "tiny for the key laptop")
    assert running["started"] >= running["created"]
    assert (await answering.http.post(f"{URL}/{second}/cancel", headers=answering.user)).status_code == 403
    cancelled = (await answering.http.post(f"{URL}/{second}/cancel", headers=ADMIN)).json()
    assert cancelled["state"] == "cancelled"
    stored = (await answering.http.get(f"/v1/responses/{second}", headers=answering.user)).json()
    assert stored["status"] == "cancelled"
    answering.generator.gate.set()
    done = await until(lambda: job(first), "done")
    assert "tokens" in done["detail"]
    assert done["ended"] >= done["started"]
    listed = (await answering.http.get(URL, headers=ADMIN)).text
    assert "secret" not in listed + str(done)
    assert "Hello" not in listed + str(done)


class Tuning:
    """A JobSource of another kind."""

    def __init__(self) -> None:
        self.job = JobDetails(
            id="tune_1", kind="tune", title="t", state="running", created=5.0, metrics={"loss": [(1, 2.5), (2, 2.0)]}
        )

    async def list(self) -> list[JobDetails]:
        return [self.job]

    async def get(self, job_id: str) -> JobDetails | None:
        return self.job if job_id == self.job.id else None

    async def cancel(self, job_id: str) -> None:
        self.job = msgspec.structs.replace(self.job, state="cancelled")


@pytest.fixture
def tuned():
    source = Tuning()
    app = create_api(ModelDirectory([], aliases={}), ApiSettings(), gate=Gate(admin_token=TOKEN), job_sources=[source])
    return source, app


async def test_other_kinds_plug_in(tuned):
    _, app = tuned
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=ADMIN) as client:
        assert [row["id"] for row in (await client.get(URL)).json()["data"]] == ["tune_1"]
        assert (await client.get(f"{URL}/tune_1")).json()["metrics"] == {"loss": [[1, 2.5], [2, 2.0]]}
        assert (await client.post(f"{URL}/tune_1/cancel")).json()["state"] == "cancelled"
        missing = await client.get(f"{URL}/none")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "job_not_found")
        assert (await client.get(f"{URL}/none?follow=true")).status_code == 404
        assert (await client.post(f"{URL}/none/cancel")).status_code == 404
        for path in (URL, f"{URL}/tune_1"):
            reply = await client.get(f"{path}?follow=true&interval=0")
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, "interval")
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        for method, path in (("GET", URL), ("GET", f"{URL}/tune_1"), ("POST", f"{URL}/tune_1/cancel")):
            assert (await client.request(method, path)).status_code == 403


@pytest.mark.parametrize(("path", "name"), [(URL, "jobs"), (f"{URL}/tune_1", "job")])
async def test_they_are_followed(tuned, run_app, path, name):
    source, app = tuned
    query = {"follow": "true", "interval": "0.1"}
    async with httpx2.AsyncClient(headers=ADMIN, timeout=20) as client:
        with run_app(app) as url:
            async with client.stream("GET", url + path, params=query) as stream:
                lines = stream.aiter_lines()
                assert await anext(lines) == f"event: {name}"
                assert '"state":"running"' in await anext(lines)
                await source.cancel("tune_1")
                while '"state":"cancelled"' not in await anext(lines):
                    pass


async def test_jobs_that_outlive_requests(answering):
    store = answering.generator_store
    await store.jobs.add(make_job("ftjob-1", "tune", owner="a", title="tiny, sft"))
    claimed = await store.job_leases.claim("s", ["tune"], 1, 10**12)
    told = [
        JobEvent(job_id="ftjob-1", number=0, created=5000, message="It goes wrong", level="warn"),
        *(metrics_event(step, 1 / step) for step in (1, 2, 3, 2)),
    ]
    await store.job_leases.write(hold_of(claimed), {"progress": 0.5, "detail": "step 3"}, events=told)

    async def post(what: str) -> dict[str, Any]:
        return (await answering.http.post(f"{URL}/ftjob-1/{what}", headers=ADMIN)).json()

    job = (await answering.http.get(f"{URL}/ftjob-1", headers=ADMIN)).json()
    assert (job["state"], job["progress"], job["detail"], job["can_pause"]) == ("running", 0.5, "step 3", True)
    assert job["log"] == ["00:00:05 warn: It goes wrong"]
    assert job["metrics"] == {"loss": [[1, 1.0], [2, 0.5], [3, 1 / 3]]}
    assert [row["id"] for row in (await answering.http.get(URL, headers=ADMIN)).json()["data"]] == ["ftjob-1"]
    assert (await post("pause"))["detail"] == "asked to pause"
    await store.job_leases.give_back(hold_of(claimed), "paused", 1, None)
    assert (await post("resume"))["state"] == "queued"
    assert (await post("pause"))["state"] == "paused"
    assert (await post("cancel"))["state"] == "cancelled"
    assert (await post("resume"))["error"]["code"] == "job_has_ended"


def metrics_event(step: int, loss: float) -> JobEvent:
    data = {"step": step, "loss": loss, "norm": None}
    return JobEvent(job_id="ftjob-1", number=0, created=5000, type="metrics", message=f"Step {step}", data=data)


async def test_what_cannot_be_paused_says_so(make_server):
    go_on = threading.Event()
    server = make_server(lambda name, progress: go_on.wait(20))
    server.pulls.listen("m")
    [row] = await wait_for_rows(server, bool)
    refused = await server.post(f"{URL}/{row['id']}/pause")
    go_on.set()
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "job_cannot_pause")
