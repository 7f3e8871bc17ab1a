"""/v1/llmos/feedback: kept as it was given, each key's own, read by administrators."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from migrated import migrate

from llmos_server.access.gate import Gate
from llmos_server.access.keys import make_key
from llmos_server.settings import StorageSettings
from llmos_server.store import feedback as stored
from llmos_server.store.database import Database
from llmos_server.store.store import Store

TOKEN = "llmos-admin-" + "t" * 43
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "1", "tool_call_id": "c1"},
]
GIVEN: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": MESSAGES,
    "answer": "Hello",
    "rating": -1,
    "correction": "Good day",
    "comment": "too informal",
    "tags": ["tone"],
    "response_id": "resp_1",
    "conversation_id": "conv_1",
    "item_id": "msg_1",
    "request_id": "req_1",
    "system_fingerprint": "fp_1",
    "sampling": {"temperature": 0.5, "seed": 7},
}
SHORT = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "answer": "Hello", "rating": 1}


class Server:
    def __init__(self, api: Any, store: Store, texts: dict[str, str]) -> None:
        self.api, self.store, self.texts = api, store, texts

    async def call(self, method: str, path: str = "", body: Any = None, name: str = "a", **options: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.texts[name]}"}
        url = f"/v1/llmos/feedback{path}"
        return await self.api.http.request(method, url, json=body, headers=headers, **options)

    async def give(self, name: str = "a", **fields: Any) -> dict[str, Any]:
        reply = await self.call("POST", "", {**SHORT, **fields}, name)
        assert reply.status_code == 200, reply.text
        return reply.json()


@pytest.fixture
async def server(make_api, tmp_path):
    store = Store(Database(tmp_path), StorageSettings(max_object_bytes=20_000))
    await migrate(store.database)
    texts = {"boss": TOKEN}
    for name in ("a", "b"):
        key, texts[name] = make_key(name, 1)
        await store.keys.add(key)
    yield Server(make_api(store=store, gate=Gate(store.keys, admin_token=TOKEN)), store, texts)
    await store.close()


async def test_it_is_kept_as_it_was_given(server):
    reply = await server.call("POST", "", GIVEN)
    made = reply.json()
    messages = [dict(message) for message in MESSAGES]
    del messages[2]["content"]  # null equals absent.
    assert {name: made[name] for name in GIVEN} == {**GIVEN, "messages": messages}
    [key_id] = [key.id for key in await server.store.keys.list() if key.name == "a"]
    assert (made["object"], made["key"]) == ("feedback", key_id)
    assert made["model_digest"] == server.api.generator.info.model_digest
    assert (await server.call("GET", f"/{made['id']}")).json() == made
    assert (await server.call("GET")).json()["data"] == [made]
    assert (await server.call("DELETE", f"/{made['id']}")).json()["deleted"] is True
    assert (await server.call("GET", f"/{made['id']}")).json()["error"]["code"] == "feedback_not_found"


async def test_of_a_model_that_is_gone_or_a_skill(server):
    for model in ("gone", "skill:translation"):
        assert (await server.give(model=model))["model_digest"] is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"rating": None}, "rating"),
        ({"rating": 2}, "rating"),
        ({"rating": 0.5}, "rating"),
        ({"rating": True}, "rating"),
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": "x", "audio": {"id": "x"}}]}, "messages[0].audio"),
        ({"answer": None}, "answer"),
        ({"model": ""}, "model"),
        ({"comment": "x" * 10_001}, "comment"),
        ({"tags": ["x"] * 33}, "tags"),
        ({"tags": ["x" * 65]}, "tags[0]"),
        ({"request_id": "x" * 129}, "request_id"),
        ({"sampling": {str(n): n for n in range(33)}}, "sampling"),
        ({"correction": "x" * 20_000}, "messages"),
    ],
)
async def test_what_cannot_be_kept_is_refused_by_name(server, fields, param):
    reply = await server.call("POST", "", {**SHORT, **fields})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
    assert (await server.call("GET")).json()["data"] == []


@pytest.mark.parametrize("said", [{"rating": 0}, {"correction": ""}, {"comment": "x"}, {"tags": ["x"]}])
async def test_one_thing_is_enough(server, said):
    await server.give(**{"rating": None, **said})


async def test_pages_and_filters(server):
    made = [(await server.give(rating=rating, model=model))["id"] for rating in (-1, 0, 1) for model in ("x", "y")]
    found: list[str] = []
    page = {"has_more": True, "last_id": None}
    while page["has_more"]:
        after = {"after": page["last_id"]} if page["last_id"] else {}
        page = (await server.call("GET", params={"limit": 4, "order": "asc", **after})).json()
        found += [row["id"] for row in page["data"]]
    assert sorted(found) == sorted(made)
    for params, count in (({"rating": -1}, 2), ({"model": "y"}, 3), ({"model": "y", "rating": 1}, 1)):
        assert len((await server.call("GET", params=params)).json()["data"]) == count
    for params, param in (({"rating": "2"}, "rating"), ({"after": "none"}, "after"), ({"model": "\x00"}, "model")):
        reply = await server.call("GET", params=params)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_a_page_of_large_ones_is_short(server, monkeypatch):
    monkeypatch.setattr(stored, "MAX_PAGE_BYTES", 5000)
    for _ in range(3):
        await server.give(correction="x" * 3000)
    page = (await server.call("GET")).json()
    assert (len(page["data"]), page["has_more"]) == (1, True)


async def test_administrators_read_everybodys(server):
    mine, other = await server.give("a"), await server.give("b")
    listed = (await server.call("GET", name="boss")).json()["data"]
    assert {row["id"] for row in listed} == {mine["id"], other["id"]}
    of_b = (await server.call("GET", name="boss", params={"key": other["key"]})).json()["data"]
    assert of_b == [other]
    assert (await server.call("GET", f"/{mine['id']}", name="boss")).json() == mine
    refused = await server.call("GET", name="a", params={"key": other["key"]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (403, "key")
    assert (await server.call("DELETE", f"/{mine['id']}", name="boss")).status_code == 200
    assert (await server.call("GET", name="a")).json()["data"] == []


async def test_a_server_that_keeps_nothing_refuses(make_api, tmp_path):
    store = Store(Database(tmp_path), StorageSettings(enabled=False))
    await migrate(store.database)
    reply = await make_api(store=store).post("/v1/llmos/feedback", SHORT)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "storage_disabled")
    await store.close()


async def test_texts_are_not_logged(server, capsys):
    said = "".join(reversed("terces"))  # Another test's broken logger would show this line.
    await server.give(answer=said, correction=said)
    assert said not in "".join(capsys.readouterr())


async def test_somebody_without_a_key_has_what_nobody_has(make_api, tmp_path):
    store = Store(Database(tmp_path))
    await migrate(store.database)
    api = make_api(store=store)
    made = (await api.post("/v1/llmos/feedback", SHORT)).json()
    assert made["key"] == ""
    transport = httpx2.ASGITransport(app=api.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
        assert (await client.get("/v1/llmos/feedback")).json()["first_id"] == made["id"]
    await store.close()
