"""What a skill was measured at is kept by the server and told by its runs."""

from __future__ import annotations

from typing import Any

import pytest

from llmos_server.access.gate import Gate
from llmos_server.store.database import Database
from llmos_server.store.store import Store

TOKEN = "llmos-admin-" + "t" * 43
DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
async def server(make_api, fakes, tmp_path, monkeypatch):
    monkeypatch.setattr(fakes.Shout, "metric", "f1")
    monkeypatch.setattr(fakes.Shout, "minimum_score", 0.5)
    store = Store(Database(tmp_path))
    api = make_api("Hello", plugins=fakes.create_skills(), store=store, gate=Gate(store.keys, admin_token=TOKEN))
    await api.generator.wait_ready()
    for start in api.app.on_startup:
        await start()
    yield api
    await store.close()


async def keep(api: Any, token: str = TOKEN, **fields: Any) -> Any:
    body = {"version": "1", "model": "tiny", "model_digest": DIGEST, "figures": {"f1": 0.25, "em": 0.0}, **fields}
    headers = {"Authorization": f"Bearer {token}"}
    return await api.post("/admin/v1/skills/shout/scores", {"num_cases": 8, "num_failed": 1, **body}, headers=headers)


async def run(api: Any) -> dict[str, Any]:
    reply = await api.post("/v1/skills/shout/run", {"text": "x"})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


async def test_a_run_tells_that_the_model_is_below_the_minimum(server):
    assert {"score", "below_minimum"} & (await run(server)).keys() == set()
    kept = (await keep(server)).json()
    assert (kept["score"], kept["metric"], kept["model"]) == (0.25, "f1", "tiny")
    answer = await run(server)
    assert (answer["score"], answer["minimum_score"], answer["below_minimum"]) == (0.25, 0.5, True)
    assert (await keep(server, figures={"f1": 0.75})).status_code == 200
    answer = await run(server)
    assert (answer["score"], answer["below_minimum"]) == (0.75, False)
    listed = (await server.http.get("/v1/llmos/skills/shout/scores")).json()["data"]
    assert sorted(entry["score"] for entry in listed) == [0.25, 0.75]
    assert kept in listed


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"version": "2"}, "version"),
        ({"model": "huge"}, "model"),
        ({"model_digest": "sha256:other"}, "model_digest"),
        ({"figures": {"em": 1.0}}, "figures"),
        ({"num_cases": 0}, "num_cases"),
    ],
)
async def test_a_score_of_something_else_is_refused(server, fields, param):
    reply = await keep(server, **fields)
    assert reply.status_code in (400, 404)
    assert reply.json()["error"]["param"] == param


async def test_only_administrators_keep_scores(server):
    reply = await server.post("/admin/v1/skills/shout/scores", {})
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "admin_required")
