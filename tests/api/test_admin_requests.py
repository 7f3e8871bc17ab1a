"""Requests in flight: each is seen, and told how far it is."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from live_watcher import Watcher
from requests_in_flight import (
    ADMIN,
    TOKEN,
    USER,
    WAIT,
    abort,
    busy_server,
    listed,
    until_engines_are_asked,
    until_listed,
)

from llmos_server import hookimpl
from llmos_server.access.gate import Gate
from llmos_server.api import flights
from llmos_server.api.live.requests import MAX_SHOWN, seconds_between
from llmos_server.api.services import STATE_KEY
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings


@pytest.fixture
def server(make_api: Any, fakes: Any) -> Any:
    return busy_server(make_api, fakes)


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
