"""/tokenize, /detokenize and the render endpoint: places of a key, a bound on what waits, and clients that leave."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from types import SimpleNamespace

import httpx2
import pytest

from llmos_server.api.services import STATE_KEY
from llmos_server.chat.pool import TextPool
from llmos_server.key_contracts import Principal

LONG = "x" * 5000
REQUESTS = {
    "/tokenize": {"prompt": LONG},
    "/v1/chat/completions/render": {"messages": [{"role": "user", "content": LONG}]},
    "/detokenize": {"tokens": [7] * 5000},
}


@pytest.fixture
def gated(make_api, fakes):
    """An API whose tokenizer waits for a gate, with at most one long text in work and one that waits."""

    class Gated(fakes.ByteRenderer):
        def __init__(self) -> None:
            super().__init__()
            self.gate = threading.Event()
            self.num_begun = 0

        def _wait(self) -> None:
            self.num_begun += 1
            assert self.gate.wait(20)

        def encode(self, *args, **kwargs):
            self._wait()
            return super().encode(*args, **kwargs)

        def encode_chat(self, *args, **kwargs):
            self._wait()
            return super().encode_chat(*args, **kwargs)

        def decode(self, *args, **kwargs):
            self._wait()
            return super().decode(*args, **kwargs)

    api = make_api(renderer=Gated(), max_model_len=10**6)
    pool = TextPool(max_workers=1, max_waiting=1)
    put(api, pool=pool)
    yield api, pool
    api.renderer.gate.set()
    pool.close()


def put(api, **services) -> None:
    """In the place of what create_api made."""
    api.app.state[STATE_KEY] = dataclasses.replace(api.app.state[STATE_KEY], **services)


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("path", REQUESTS)
async def test_one_too_many_is_told_when_to_come_again(gated, path) -> None:
    api, pool = gated
    inside = [asyncio.ensure_future(api.post(path, REQUESTS[path])) for _ in range(2)]
    await until(lambda: pool.num_inside == 2)
    refused = await api.post(path, REQUESTS[path])
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
    assert int(refused.headers["Retry-After"]) >= 1
    api.renderer.gate.set()
    assert [(await one).status_code for one in inside] == [200, 200]


@pytest.mark.parametrize("path", REQUESTS)
async def test_what_waits_is_dropped_when_its_client_leaves(gated, run_app, path) -> None:
    api, pool = gated
    with run_app(api.app) as url:
        async with httpx2.AsyncClient(timeout=30) as client, httpx2.AsyncClient(timeout=30) as hasty:
            first = asyncio.ensure_future(client.post(url + path, json=REQUESTS[path]))
            await until(lambda: pool.num_inside == 1)
            second = asyncio.ensure_future(hasty.post(url + path, json=REQUESTS[path]))
            await until(lambda: pool.num_inside == 2)
            second.cancel()
            await until(lambda: pool.num_inside == 1)
            assert api.renderer.num_begun == 1
            api.renderer.gate.set()
            assert (await first).status_code == 200


@pytest.mark.parametrize("path", REQUESTS)
async def test_each_takes_a_place_of_its_key(gated, path) -> None:
    api, pool = gated
    limited = Principal(key_id="a", max_in_flight=1, tokens_per_minute=1)

    async def identify(*_, **__) -> Principal:
        return limited

    put(api, gate=SimpleNamespace(identify=identify))
    first = asyncio.ensure_future(api.post(path, REQUESTS[path]))
    await until(lambda: pool.num_inside == 1)
    refused = await api.post("/tokenize", {"prompt": "short"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert "1 requests in flight" in refused.json()["error"]["message"]
    api.renderer.gate.set()
    reply = await first
    assert reply.status_code == 200
    assert reply.headers["x-ratelimit-remaining-tokens"] == "1"  # None was charged.
    assert (await api.post("/tokenize", {"prompt": "short"})).status_code == 200
