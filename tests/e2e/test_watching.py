"""What administrators see of the real model under load is true, and what they end is over."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import httpx2
import pytest

pytestmark = pytest.mark.real_model

LETTERS = {"free": ".", "cached": "c", "used": "u", "shared": "s"}
SHARED = "The sea is wide and deep, and nobody has seen all of it. " * 12
BODY = {"temperature": 0, "max_tokens": 400, "ignore_eos": True, "stream": True}


@pytest.fixture
async def http(server):
    token = (server.log.parent / "home/admin.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(base_url=server.url, headers=headers, timeout=60) as client:
        yield client


async def get(http: httpx2.AsyncClient, path: str) -> Any:
    reply = await http.get(f"/admin/v1/{path}")
    assert reply.status_code == 200, reply.text
    return reply.json()


async def ask(http: httpx2.AsyncClient, question: str, request_id: str, **fields: Any) -> str:
    """The last data of the stream."""
    messages = [{"role": "user", "content": SHARED + question}]
    body = {"messages": messages, **BODY, **fields}
    last = ""
    async with http.stream("POST", "/v1/chat/completions", json=body, headers={"X-Request-Id": request_id}) as reply:
        assert reply.status_code == 200, await reply.aread()
        async for line in reply.aiter_lines():
            last = line if line.startswith("data: ") else last
    return last


async def metrics(http: httpx2.AsyncClient) -> dict[str, int]:
    text = (await http.get("/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("llmos:kv_cache_pages{")]
    return {line.split('state="')[1].split('"')[0]: int(float(line.rsplit(" ", 1)[1])) for line in lines}


async def test_under_load(http, smollm2):
    asked = [asyncio.create_task(ask(http, f"Question {i}", f"watched-{i}", n=1 + i % 2)) for i in range(6)]
    seen: Counter[str] = Counter()
    most_shared = num_maps = 0
    async with (
        asyncio.timeout(60),
        http.stream("GET", "/admin/v1/models/pages?follow=true&interval=0.1") as stream,
    ):
        async for line in stream.aiter_lines():
            if not line.startswith("data: "):
                continue
            layout = json.loads(line[6:])
            found = Counter(layout["map"])
            assert {state: found[letter] for state, letter in LETTERS.items()} == {
                state: layout[f"num_{state}"] for state in LETTERS
            }
            assert sum(found.values()) == layout["num_pages"]
            most_shared, num_maps = max(most_shared, found["s"]), num_maps + 1
            rows = {row["id"]: row for row in (await get(http, "requests"))["data"]}
            seen.update(row["state"] for row in rows.values())
            if num_maps >= 8 and seen["generating"] >= 6 and most_shared:
                break
    assert layout["model"] == smollm2.name
    assert most_shared >= 5  # All of them begin alike.
    for row in rows.values():
        assert row["prompt_tokens"] > 100
        if row["state"] == "generating":
            assert row["cached_tokens"] is not None
            assert row["ttft_seconds"] > 0
    overview = await get(http, "overview")
    [model] = [model for model in overview["models"] if model["name"] == smollm2.name]
    assert overview["num_requests"] == len(rows) == 6
    assert model["num_running"] >= 6
    assert model["rss_bytes"] > 50e6
    await end_all(http, asked)
    await is_idle(http)


async def end_all(http: httpx2.AsyncClient, asked: list[asyncio.Task[str]]) -> None:
    """By hand, one after the other."""
    for number in range(len(asked)):
        reply = await http.delete(f"/admin/v1/requests/watched-{number}")
        assert reply.status_code == 200, reply.text
    for last in await asyncio.wait_for(asyncio.gather(*asked), 30):
        assert json.loads(last[6:])["error"]["code"] == "aborted_by_administrator"
    async with asyncio.timeout(30):  # The last bytes come before the list is shorter.
        while (await get(http, "requests"))["data"]:
            await asyncio.sleep(0.01)


async def is_idle(http: httpx2.AsyncClient) -> None:
    """No page is held any more; and then the map, the metrics and the overview are of one and the same step."""
    async with asyncio.timeout(30):
        while (counts := await metrics(http))["used"] + counts["shared"]:
            await asyncio.sleep(0.01)
    layout = await get(http, "models/pages")
    found = Counter(layout["map"])
    assert {state: found[letter] for state, letter in LETTERS.items()} == counts == await metrics(http)
    assert counts["cached"] > 0


async def test_what_an_ended_request_has_used_is_in_the_ledger(http):
    asked = asyncio.create_task(ask(http, "Tell me more.", "watched-ledger"))
    async with asyncio.timeout(60):
        while True:
            rows = (await get(http, "requests"))["data"]
            if rows and rows[0]["completion_tokens"] >= 5:
                break
            await asyncio.sleep(0.01)
    detail = await get(http, "requests/watched-ledger")
    assert (detail["sampling"]["temperature"], detail["sampling"]["max_tokens"]) == (0.0, 400)
    assert (await http.delete("/admin/v1/requests/watched-ledger")).status_code == 200
    await asyncio.wait_for(asked, 30)
    async with asyncio.timeout(30):
        while (reply := await http.get("/v1/usage/watched-ledger")).status_code != 200:
            await asyncio.sleep(0.05)
    row = reply.json()["usage"]
    assert row["status"] == "abort"
    assert row["prompt_tokens"] == detail["prompt_tokens"]
    assert row["completion_tokens"] >= detail["completion_tokens"] >= 5
