"""An API whose answers do not end, and what administrators see of its requests."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpx2

from llmos_server.access.gate import Gate

TOKEN = "llmos-admin-" + "t" * 43
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
USER: Any = [{"role": "user", "content": "the secret word"}]
TOLD = "An administrator of this server has ended this request."
WAIT = 10


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


def busy_server(make_api: Any, fakes: Any) -> Any:
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


def asked_of_engines(server: Any) -> int:
    return len(server.generator.generations) + sum(len(encoder.requests) for encoder in server.encoders)


async def until_engines_are_asked(server: Any, num_before: int) -> None:
    async with asyncio.timeout(WAIT):
        while asked_of_engines(server) == num_before:
            await asyncio.sleep(0.001)
