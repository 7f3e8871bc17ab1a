"""Requests in flight, of each kind and at each moment, can be ended; nothing of them is left then."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from migrated import migrate
from requests_in_flight import (
    TOKEN,
    TOLD,
    USER,
    WAIT,
    abort,
    asked_of_engines,
    busy_server,
    check_all_is_given_back,
    check_told,
    endless,
    listed,
    until_engines_are_asked,
    until_listed,
)

from llmos_server import hookimpl
from llmos_server.access.gate import Gate
from llmos_server.api import flights
from llmos_server.plugins.filters import FilteredRequest, RequestFilter
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings, StorageSettings
from llmos_server.store.database import Database
from llmos_server.store.store import Store

ANSWERS = {
    "chat": ("/v1/chat/completions", {"messages": USER, "temperature": 0.5, "max_tokens": 300}),
    "completion": ("/v1/completions", {"prompt": ["a", "b"], "max_tokens": 300}),
    "response": ("/v1/responses", {"input": "the secret word", "store": False}),
    "message": ("/v1/messages", {"model": "tiny", "max_tokens": 300, "messages": USER}),
    "ollama-chat": ("/api/chat", {"model": "tiny", "messages": USER}),
    "ollama-generate": ("/api/generate", {"model": "tiny", "prompt": "the secret word", "raw": True}),
    "skill": ("/v1/skills/shout/run", {"text": "the secret word"}),
    "skill-chat": ("/v1/chat/completions", {"model": "skill:shout", "messages": USER}),
    "agent": ("/v1/chat/completions", {"messages": USER, "tools": [{"type": "skill", "name": "shout"}]}),
}
TEXTS = {
    "embeddings": ("/v1/embeddings", {"input": "the secret word"}),
    "rerank": ("/v1/rerank", {"model": "small", "query": "q", "documents": ["the secret word"]}),
    "classify": ("/v1/classify", {"model": "kinds", "input": "the secret word"}),
    "systemone": (
        "/v1/systemone",
        {"state": "the secret word", "questions": {"a": {"type": "noul", "instructions": "Is it?"}}},
    ),
    "ollama-embed": ("/api/embed", {"model": "small", "input": "the secret word"}),
}


@pytest.fixture
def server(make_api: Any, fakes: Any) -> Any:
    return busy_server(make_api, fakes)


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_is_ended(server, stream):
    for kind, moment in itertools.product(ANSWERS, ("loading", "queued", "generating")):
        print(kind, moment)  # Shown where it fails.
        await check_an_end(server, *ANSWERS[kind], stream, moment)


async def check_an_end(server: Any, path: str, body: dict[str, Any], stream: bool, moment: str) -> None:
    server.book.rows.clear()
    server.generator.state = "loading" if moment == "loading" else "ready"
    server.generator.loaded = asyncio.Event()
    server.generator.gate = asyncio.Event() if moment == "queued" else None
    asked = asyncio.create_task(server.user.post(path, json={**body, "stream": stream}))
    num_asked = asked_of_engines(server)
    row = await until_listed(server, moment)
    if moment == "queued":
        await until_engines_are_asked(server, num_asked)
    assert (row["endpoint"], row["key"], row["model"]) == (path, "n", "tiny")
    assert row["client"] == "tests/1 ?[31m" + "x" * 67
    assert row["is_stream"] is stream
    if moment == "generating":
        assert row["prompt_tokens"] > 0
        assert row["ttft_seconds"] > 0
    assert (await abort(server, row["id"])).json() == {"object": "request.aborted", "id": row["id"], "aborted": True}
    reply = await asyncio.wait_for(asked, WAIT)
    check_told(reply, path)
    assert reply.headers["x-request-id"] == row["id"]
    booked = list(server.book.rows)
    await check_all_is_given_back(server)
    if moment == "loading":
        assert booked == []
        return
    [one] = booked
    assert (one.status, one.endpoint, one.request_id) == ("abort", path, row["id"])
    assert one.prompt_tokens > 0
    assert (one.completion_tokens > 0) == (moment == "generating")


async def test_what_judges_texts_is_ended(server):
    for path, body in TEXTS.values():
        await check_an_end_of_texts(server, path, body)


async def check_an_end_of_texts(server: Any, path: str, body: dict[str, Any]) -> None:
    server.book.rows.clear()
    num_asked = asked_of_engines(server)
    server.generator.gate = asyncio.Event()
    asked = asyncio.create_task(server.user.post(path, json=body))
    row = await until_listed(server, "running")
    assert (row["endpoint"], row["is_stream"], row["completion_tokens"]) == (path, False, 0)
    await until_engines_are_asked(server, num_asked)
    await abort(server, row["id"])
    check_told(await asyncio.wait_for(asked, WAIT), path)
    assert [row.status for row in server.book.rows] == ["abort"]
    await check_all_is_given_back(server)


async def test_a_model_that_is_only_loaded(server):
    server.generator.state = "loading"
    asked = asyncio.create_task(server.user.post("/api/generate", json={"model": "tiny"}))
    row = await until_listed(server, "loading")
    await abort(server, row["id"])
    check_told(await asyncio.wait_for(asked, WAIT), "/api/generate")
    await check_all_is_given_back(server)


class Hold(RequestFilter):
    name = "hold"
    deadline_ms = 600_000

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()

    def check(self, request: FilteredRequest) -> FilteredRequest | None:
        self.entered.set()
        self.let_go.wait(WAIT)
        return None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_is_ended_while_it_is_filtered(make_api, stream):
    hold = Hold()

    class Plugin:
        hook_api = "1.0"

        @hookimpl
        def register_request_filters(self) -> list[Any]:
            return [hold]

    host = PluginHost(PluginsSettings())
    host.add(Candidate(name="holding", source="built-in", load=Plugin), {})
    api = make_api(plugins=host, gate=Gate(admin_token=TOKEN))
    server = SimpleNamespace(http=api.http)
    asked = asyncio.create_task(api.chat(stream=stream))
    row = await until_listed(server, "filtering")
    assert (row["prompt_tokens"], row["model"]) == (None, None)
    await abort(server, row["id"])
    check_told(await asyncio.wait_for(asked, WAIT), "/v1/chat/completions")
    assert await listed(server) == []
    hold.let_go.set()
    assert api.generator.generations == []


@pytest.fixture
async def stateful(make_api, tmp_path):
    store = Store(Database(tmp_path), StorageSettings())
    await migrate(store.database)
    yield make_api(endless, max_model_len=10**7, step_seconds=0.001, store=store, gate=Gate(admin_token=TOKEN))
    await store.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_work_in_the_background_is_ended(stateful, stream):
    """Its request was answered long ago, unless it is a stream."""
    server = SimpleNamespace(http=stateful.http)
    body = {"input": "the secret word", "background": True, "stream": stream}
    asked = asyncio.create_task(stateful.post("/v1/responses", body))
    row = await until_listed(server, "generating")
    if not stream:
        response_id = (await asked).json()["id"]
    assert row["endpoint"] == "/v1/responses"
    await abort(server, row["id"])
    if stream:
        events = [json.loads(line[6:]) for line in (await asked).text.splitlines() if line.startswith("data: {")]
        assert events[-1]["type"] == "response.failed"
        response_id = events[-1]["response"]["id"]
    async with asyncio.timeout(WAIT):
        while await listed(server):
            await asyncio.sleep(0.001)
    stored = (await stateful.http.get(f"/v1/responses/{response_id}")).json()
    assert (stored["status"], stored["error"]["message"]) == ("failed", TOLD)
    assert stateful.generator.generations[0].aborted.is_set()


async def test_a_client_that_does_not_read_is_cut_off(server, monkeypatch):
    """The pages are free at once, its place when it has been given time to read why."""
    monkeypatch.setattr(flights, "PATIENCE_SECONDS", 0.05)
    sent = 0
    stuck = asyncio.Event()

    async def receive():
        if not hasattr(receive, "asked"):
            receive.asked = True
            return {"type": "http.request", "body": b'{"prompt": "a", "max_tokens": 1000000, "stream": true}'}
        return await asyncio.Event().wait()

    async def send(message):
        nonlocal sent
        sent += 1
        if sent > 3:
            stuck.set()
            await asyncio.Event().wait()

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/v1/completions", "raw_path": b"", "query_string": b"", "root_path": "", "server": None,
        "headers": [
            (b"host", b"127.0.0.1"), (b"content-type", b"application/json"),
            (b"authorization", server.user.headers["authorization"].encode()),
        ],
        "client": ("127.0.0.1", 1),
    }  # fmt: skip
    asked = asyncio.create_task(server.api.app(scope, receive, send))
    await asyncio.wait_for(stuck.wait(), WAIT)
    [row] = await listed(server)
    await abort(server, row["id"])
    assert server.generator.generations[0].aborted.is_set()
    await asyncio.wait_for(asked, WAIT)
    await check_all_is_given_back(server)


async def test_an_mcp_call_is_ended(server):
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "shout", "arguments": {"text": "a"}}}
    headers = {"Accept": "application/json, text/event-stream"}
    asked = asyncio.create_task(server.user.post("/mcp", json=call, headers=headers))
    row = await until_listed(server, "generating")
    assert row["endpoint"] == "/mcp"
    await abort(server, row["id"])
    reply = await asyncio.wait_for(asked, WAIT)
    assert TOLD in reply.text
    await check_all_is_given_back(server)
