"""/v1/responses/input_tokens: what a response's usage says, without running it."""

from __future__ import annotations

from typing import Any

import pytest
from stored_api import HELLO, open_stored_api

URL = "/v1/responses"
TOOL = {"type": "function", "name": "f", "description": "Does.", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture
async def server(make_api, tmp_path):
    async with open_stored_api(make_api, tmp_path) as opened:
        yield opened


async def respond(server: Any, **fields: Any) -> dict[str, Any]:
    reply = await server.call("POST", URL, {"model": "tiny", **fields})
    assert reply.status_code == 200, reply.text
    return reply.json()


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "Hi"},
        {"input": [HELLO, {"role": "assistant", "content": "Hi"}, HELLO], "instructions": "Be brief."},
        {"input": "Hi", "tools": [TOOL]},
        {"input": "Hi", "tools": [TOOL], "tool_choice": "none"},
    ],
)
async def test_it_is_what_the_usage_says(server, fields):
    counted = await server.sdk().responses.input_tokens.count(model="tiny", **fields)
    assert counted.object == "response.input_tokens"
    num_requests = len(server.api.generator.requests)
    made = await respond(server, **fields)
    assert counted.input_tokens == made["usage"]["input_tokens"]
    assert len(server.api.generator.requests) == num_requests + 1


async def test_what_it_goes_on_from_counts(server):
    first = await respond(server, input="Hi")
    conversation = (await server.call("POST", "/v1/conversations", {"items": [HELLO]})).json()["id"]
    for fields in ({"previous_response_id": first["id"]}, {"conversation": conversation}):
        count = server.sdk().responses.input_tokens.count
        counted = (await count(model="tiny", input="And?", **fields)).input_tokens
        assert counted > (await count(model="tiny", input="And?")).input_tokens
        assert counted == (await respond(server, input="And?", **fields))["usage"]["input_tokens"]


async def test_more_than_fits_is_counted_too(server):
    counted = await server.sdk().responses.input_tokens.count(model="tiny", input="x" * 5000, truncation="auto")
    assert counted.input_tokens > 5000


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": "x", "personality": "friendly"}, "personality"),
        ({"input": [{"role": "x"}]}, "input[0].role"),
    ],
)
async def test_what_is_refused(server, fields, param):
    reply = await server.call("POST", f"{URL}/input_tokens", {"model": "tiny", **fields})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_what_makes_no_difference_is_told(server):
    body = {"model": "tiny", "input": "x", "temperature": 0.5}
    reply = await server.call("POST", f"{URL}/input_tokens", body)
    assert reply.headers["X-LLMOS-Ignored"] == "temperature"
