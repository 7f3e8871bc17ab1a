"""Requests in flight: each kind of them is seen, told how far it is, and can be ended; nothing of it is left then."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from live_watcher import Watcher
from migrated import migrate

from llmos_server import hookimpl
from llmos_server.access.gate import Gate
from llmos_server.api import flights
from llmos_server.api.live.requests import MAX_SHOWN, seconds_between
from llmos_server.api.services import STATE_KEY
from llmos_server.plugins.filters import FilteredRequest, RequestFilter
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings, StorageSettings
from llmos_server.store.database import Database
from llmos_server.store.store import Store

TOKEN = "llmos-admin-" + "t" * 43
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
USER: Any = [{"role": "user", "content": "the secret word"}]
TOLD = "An administrator of this server has ended this request."
WAIT = 10

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


class Book:
    """A usage ledger in memory."""

    num_pending = num_written = num_dropped = 0
    is_failing = False

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def book(self, row: Any) -> None:
        self.rows.append(row)


def endless(request: Any, index: int) -> bytes:
    return b"x" * 10**6


@pytest.fixture
def server(make_api: Any, fakes: Any) -> Any:
    """An API whose answers don't end, with one key that may have one request in flight."""
    keys = fakes.MemoryKeys()
    key = keys.add(max_in_flight=1, tokens_per_minute=10**6)
    encoder, classifier = fakes.ScriptedEncoder(max_input_tokens=50), fakes.ScriptedClassifier("yes", "no")
    encoder.gate = classifier.gate = asyncio.Event()
    book = Book()
    api = make_api(
        endless, max_model_len=10**7, step_seconds=0.03, gate=Gate(keys, admin_token=TOKEN), usage=book,
        encoder=encoder, classifier=classifier, plugins=fakes.create_skills(),
    )  # fmt: skip
    user = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=api.app), base_url="http://127.0.0.1:8000")
    user.headers |= {"Authorization": f"Bearer {key}", "User-Agent": "tests/1 \x1b[31m" + "x" * 100}
    return SimpleNamespace(
        api=api, http=api.http, user=user, book=book, encoders=(encoder, classifier), generator=api.generator
    )


async def listed(server: Any) -> list[dict[str, Any]]:
    reply = await server.http.get("/admin/v1/requests", headers=ADMIN)
    assert reply.status_code == 200, reply.text
    assert "secret word" not in reply.text
    return reply.json()["data"]


async def until_listed(server: Any, state: str) -> dict[str, Any]:
    """The one request in flight, once it is in this state."""
    async with asyncio.timeout(WAIT):
        while not (found := await listed(server)) or found[0]["state"] != state:
            await asyncio.sleep(0.001)
    [row] = found
    return row


async def abort(server: Any, request_id: str) -> httpx2.Response:
    return await server.http.delete(f"/admin/v1/requests/{request_id.replace('#', '%23')}", headers=ADMIN)


async def check_all_is_given_back(server: Any) -> None:
    async with asyncio.timeout(WAIT):
        while await listed(server) or server.generator.num_holds:
            await asyncio.sleep(0.001)
    assert all(generation.aborted.is_set() for generation in server.generator.generations)
    assert [encoder.num_holds for encoder in server.encoders] == [0, 0]
    server.generator.state, server.generator.gate = "ready", None
    again = await server.user.post("/v1/completions", json={"prompt": "a", "max_tokens": 1})  # Its key's only place.
    assert again.status_code == 200, again.text


def check_told(reply: httpx2.Response, path: str) -> None:
    """In the form of the API that was called."""
    if reply.status_code == 503:
        assert reply.headers["x-should-retry"] == "false"
        error = reply.json()["error"]
        if path.startswith("/api/"):
            assert error == TOLD
        elif path == "/v1/messages":
            assert (reply.json()["type"], error["type"], error["message"]) == ("error", "overloaded_error", TOLD)
        else:
            assert (error["code"], error["message"]) == ("aborted_by_administrator", TOLD)
        return
    assert reply.status_code == 200
    assert TOLD in reply.text.splitlines()[-2 if reply.text.endswith("\n\n") else -1] or TOLD in reply.text
    assert "[DONE]" not in reply.text


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


def asked_of_engines(server: Any) -> int:
    return len(server.generator.generations) + sum(len(encoder.requests) for encoder in server.encoders)


async def until_engines_are_asked(server: Any, num_before: int) -> None:
    async with asyncio.timeout(WAIT):
        while asked_of_engines(server) == num_before:
            await asyncio.sleep(0.001)


async def test_a_model_that_is_only_loaded(server):
    server.generator.state = "loading"
    asked = asyncio.create_task(server.user.post("/api/generate", json={"model": "tiny"}))
    row = await until_listed(server, "loading")
    await abort(server, row["id"])
    check_told(await asyncio.wait_for(asked, WAIT), "/api/generate")
    await check_all_is_given_back(server)


async def test_details_tell_what_was_asked_without_its_texts(server):
    tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
    body = {
        "messages": USER, "temperature": 0.5, "seed": 7, "max_tokens": 900, "n": 2, "stop": ["secret word"],
        "logit_bias": {"5": 1}, "stream": True, "tools": [tool], "tool_choice": "none",
    }  # fmt: skip
    asked = asyncio.create_task(server.user.post("/v1/chat/completions", json=body))
    row = await until_listed(server, "generating")
    async with asyncio.timeout(WAIT):
        while (await listed(server))[0]["completion_tokens"] <= 2:
            await asyncio.sleep(0.001)
    reply = await server.http.get(f"/admin/v1/requests/{row['id']}", headers=ADMIN)
    assert "secret word" not in reply.text
    found = reply.json()
    assert found["sampling"]["temperature"] == 0.5
    assert (found["sampling"]["seed"], found["sampling"]["n"], found["sampling"]["num_stop"]) == (7, 2, 1)
    assert found["sampling"]["num_logit_bias"] == 1
    assert (found["grammar"], found["tools"], found["num_choices"]) == (False, ["weather"], 2)
    assert found["completion_tokens"] > row["completion_tokens"]
    assert found["tokens_per_second"] > 0
    assert found["cached_tokens"] == 0
    await abort(server, row["id"])
    await asked


@pytest.mark.parametrize("fields", [{"regex": "x+"}, {"structured_outputs": {"choice": ["a", "b"]}}])
async def test_details_tell_of_a_form(server, fields):
    server.generator.gate = asyncio.Event()
    fields = {"structured_outputs": fields} if "regex" in fields else fields
    asked = asyncio.create_task(server.user.post("/v1/completions", json={"prompt": "a", "max_tokens": 9, **fields}))
    row = await until_listed(server, "queued")
    await until_engines_are_asked(server, 0)
    found = (await server.http.get(f"/admin/v1/requests/{row['id']}", headers=ADMIN)).json()
    assert found["grammar"] is True
    assert "seed" not in found["sampling"]  # Each prompt gets one of its own.
    await abort(server, row["id"])
    await asked


async def test_what_was_asked_before_is_counted(make_api, fakes):
    """A skill that asks twice: the tokens of both."""
    asked_again = asyncio.Event()

    class Twice(fakes.Shout):
        name = "twice"

        async def run(self, input: Any, context: Any) -> Any:
            await super().run(input, context)
            return await super().run(input, context)

    class Plugin:
        hook_api = "1.0"

        @hookimpl
        def register_skills(self) -> list[Any]:
            return [Twice()]

    host = PluginHost(PluginsSettings())
    host.add(Candidate(name="twice", source="built-in", load=Plugin), {})
    api = make_api(plugins=host, gate=Gate(admin_token=TOKEN))
    server = SimpleNamespace(http=api.http)
    submit = api.generator.submit

    def submit_second_behind_a_gate(request: Any) -> Any:
        api.generator.gate = asked_again if api.generator.generations else None
        return submit(request)

    api.generator.submit = submit_second_behind_a_gate
    asked = asyncio.create_task(api.post("/v1/skills/twice/run", {"text": "a"}))
    async with asyncio.timeout(WAIT):
        while len(api.generator.generations) < 2:
            await asyncio.sleep(0.001)
    row = await until_listed(server, "queued")
    one_prompt = len(api.generator.requests[0].prompt_ids)
    assert (row["prompt_tokens"], row["completion_tokens"], row["cached_tokens"]) == (2 * one_prompt, 5, None)
    asked_again.set()
    assert (await asked).json()["result"] == "HELLO"
    assert await listed(server) == []


async def test_nobody_else_may(server):
    asked = asyncio.create_task(server.user.post("/v1/completions", json={"prompt": "a", "max_tokens": 10**6}))
    row = await until_listed(server, "generating")
    for method, path in (("GET", ""), ("GET", f"/{row['id']}"), ("DELETE", f"/{row['id']}")):
        assert (await server.user.request(method, f"/admin/v1/requests{path}")).status_code == 403
    for method in ("GET", "DELETE"):
        reply = await server.http.request(method, "/admin/v1/requests/none", headers=ADMIN)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "request_not_found")
    await abort(server, row["id"])
    await asked
    assert (await abort(server, row["id"])).status_code == 404


async def test_ids_that_are_used_twice(server):
    post = server.http.post
    body, headers = {"prompt": "a", "max_tokens": 10**6}, {**ADMIN, "X-Request-Id": "mine/1"}
    asked = [asyncio.create_task(post("/v1/completions", json=body, headers=headers)) for _ in range(2)]
    async with asyncio.timeout(WAIT):
        while len(found := await listed(server)) < 2:
            await asyncio.sleep(0.001)
    assert [row["id"] for row in found] == ["mine/1", "mine/1#2"]
    await abort(server, "mine/1#2")
    assert "aborted" in (await asyncio.wait_for(asked[1], WAIT)).text
    [row] = await listed(server)
    assert row["id"] == "mine/1"
    await abort(server, "mine/1")
    await asked[0]


async def test_the_list_is_bounded(server):
    register = server.api.app.state[STATE_KEY].flights
    for number in range(MAX_SHOWN + 3):
        flights.Flight(f"r{number}", "/v1/completions", "", lambda _: None).board(register)
    reply = (await server.http.get("/admin/v1/requests", headers=ADMIN)).json()
    assert (len(reply["data"]), reply["num_more"], reply["data"][0]["id"]) == (MAX_SHOWN, 3, "r0")
    assert reply["data"][0]["state"] == "filtering"


def test_a_long_list_comes_less_often():
    register, lengths = flights.Flights(), {}
    for number in range(2000):
        flights.Flight(str(number), "/v1/completions", "", lambda _: None).board(register)
        lengths[number + 1] = seconds_between(register, 0.1), seconds_between(register, 10.0)
    assert [lengths[num] for num in (50, 500, 2000)] == [(0.1, 10.0), (0.5, 10.0), (1.0, 10.0)]


async def test_what_costs_nothing_is_not_listed(server):
    for path in ("/v1/models", "/metrics", "/admin/v1/requests", "/v1/nothing"):
        await server.http.get(path, headers=ADMIN)
    assert await listed(server) == []
    assert (await server.http.get("/admin/v1/overview", headers=ADMIN)).json()["num_requests"] == 0


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


async def test_the_list_is_followed(server):
    async with Watcher(server.api.app, "/admin/v1/requests?follow=true&interval=0.1", TOKEN) as watcher:
        [(name, data)] = await watcher.events(1)
        assert (name, data["object"], data["data"], data["num_more"]) == ("requests", "list", [], 0)
        asked = asyncio.create_task(server.user.post("/v1/completions", json={"prompt": "a", "max_tokens": 10**6}))
        row = await until_listed(server, "generating")
        events = await watcher.events(watcher.text.count("\n\n") + 1)
        assert events[-1][1]["data"][0]["id"] == row["id"]
    await abort(server, row["id"])
    await asked
