"""Whatever a client posts: an answer, or an error of the API's form with a 4xx; never a 5xx, never a hang."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from broken_bodies import bodies, encode
from good_bodies import EVAL, ROUTES
from hypothesis import HealthCheck, given, seed, settings
from migrated import migrate
from sqlalchemy import insert

from llmos_server.chat.renderer import Renderer
from llmos_server.engine.messages import AddRequest
from llmos_server.store.database import Database
from llmos_server.store.eval_tables import EvalRow
from llmos_server.store.state_tables import ConversationRow
from llmos_server.store.store import Store

JSON = {"content-type": "application/json"}
SECONDS = 20
"""No answer takes nearly as long; a hang does."""

JOB_VERBS = ("cancel", "pause", "resume")
ALIASES = {"/rerank", "/v2/rerank", "/score", "/classify"}
"""Handled as the same path below /v1."""
WITHOUT_BODY = {"/v1/responses/resp_1/cancel", *(f"/v1/fine_tuning/jobs/job/{verb}" for verb in JOB_VERBS)}
WITHOUT_BODY |= {
    "/v1/batches/batch_1/cancel",
    "/v1/evals/eval_1/runs/evalrun_1",
    "/v1/evals/eval_1/runs/evalrun_1/cancel",
}
FOR_ADMINISTRATORS = {"/api/pull"}
"""Beside /admin; they decode their bodies in the same way: see test_admin.py and test_admin_models.py."""


def engines(fakes: Any) -> dict[str, Any]:
    return {"encoder": fakes.ScriptedEncoder(), "classifier": fakes.ScriptedClassifier("a", "b")}


async def check(api: Any, path: str, raw: bytes) -> None:
    api.generator.generations.clear()
    async with asyncio.timeout(SECONDS):
        reply = await api.http.post(path, content=raw, headers=JSON)
    assert reply.status_code < 500, (reply.text, raw[:300])
    assert reply.headers["X-Request-Id"]
    if reply.status_code in (200, 201):
        assert b'data: {"error"' not in reply.content
        assert b'\n{"error"' not in reply.content
        assert b"event: error" not in reply.content
    elif path.startswith("/api/"):
        [(name, text)] = reply.json().items()
        assert (name, type(text)) == ("error", str)
        assert len(reply.content) < 20_000, "the answer repeats the body"
    elif path.startswith("/v1/messages"):
        assert set(reply.json()) == {"type", "error", "request_id"}
        assert set(reply.json()["error"]) == {"type", "message", "details"}
        assert len(reply.content) < 20_000, "the answer repeats the body"
    else:
        assert set(reply.json()) == {"error"}
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
        assert len(reply.content) < 20_000, "the answer repeats the body"
    for request in api.generator.requests:
        crossed = msgspec.msgpack.decode(msgspec.msgpack.encode(AddRequest(epoch=1, request=request)), type=AddRequest)
        assert crossed.request == request


def fuzz(api: Any, path: str, num_examples: int) -> None:
    runner = asyncio.Runner()

    @settings(max_examples=num_examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @seed(1)
    @given(bodies(path))
    def run(raw: bytes) -> None:
        runner.run(check(api, path, raw))

    with runner:
        runner.run(fill(api))
        try:
            run()
        finally:
            runner.run(api.store.close())


def create(make_api: Any, fakes: Any, folder: Path, **options: Any) -> Any:
    store = Store(Database(folder))
    api = make_api(max_model_len=2000, store=store, plugins=fakes.create_skills(), **engines(fakes), **options)
    api.store = store
    return api


async def fill(api: Any) -> None:
    """The conversation conv_1, and the eval eval_1."""
    await migrate(api.store.database)
    row = {"num_items": 0, "num_bytes": 0, "next_position": 0, "created": 1, "changed": 1}
    async with api.store.database.write() as connection:
        await connection.execute(insert(ConversationRow).values(owner="", id="conv_1", pairs="{}", **row))
        content = msgspec.json.encode({name: EVAL[name] for name in EVAL if name != "name"}).decode()
        made = {"name": "e", "content": content, "num_bytes": 0, "created": 1, "changed": 1}
        await connection.execute(insert(EvalRow).values(owner="", id="eval_1", **made))


def test_every_route_that_takes_a_body_is_here(make_api) -> None:
    posted = {route.path for route in make_api().app.routes if "POST" in getattr(route, "methods", ())}
    names = {
        "{name:str}": "shout",
        "{plugin:str}": "shouting",
        "{path:path}": "size",
        "{response_id:str}": "resp_1",
        "{conversation_id:str}": "conv_1",
        "{job_id:str}": "job",
        "{batch_id:str}": "batch_1",
        "{eval_id:str}": "eval_1",
        "{run_id:str}": "evalrun_1",
    }
    taken = {re.sub(r"{.*?}", lambda mark: names[mark[0]], path) for path in posted if not path.startswith("/admin/")}
    assert taken - ALIASES - WITHOUT_BODY - FOR_ADMINISTRATORS - {"/mcp", "/v1/files"} == set(
        ROUTES
    )  # test_mcp_fuzz.py, test_files.py


@pytest.mark.parametrize(
    "path", sorted(set(ROUTES) - {"/v1/fine_tuning/jobs", "/v1/batches"})
)  # These want a file that is there.
def test_good_bodies_are_answered(make_api, fakes, tmp_path, path) -> None:
    async def ask() -> int:
        api = create(make_api, fakes, tmp_path)
        await fill(api)
        reply = await api.http.post(path, content=encode(ROUTES[path][0]), headers=JSON)
        await api.store.close()
        return reply.status_code

    assert asyncio.run(ask()) in (200, 201)


@pytest.mark.parametrize("path", ROUTES)
def test_broken_bodies(make_api, fakes, tmp_path, path) -> None:
    fuzz(create(make_api, fakes, tmp_path), path, 30)


@pytest.mark.proof
@pytest.mark.parametrize("path", ROUTES)
def test_many_broken_bodies(make_api, fakes, tmp_path, path) -> None:
    fuzz(create(make_api, fakes, tmp_path), path, 5000)


@pytest.mark.proof
@pytest.mark.real_model
@pytest.mark.parametrize("path", ROUTES)
def test_many_broken_bodies_and_the_real_tokenizer(make_api, fakes, tmp_path, smollm2, path) -> None:
    fuzz(create(make_api, fakes, tmp_path, renderer=Renderer.load(Path(smollm2.folder))), path, 1000)
