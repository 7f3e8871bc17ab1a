"""/admin/v1/prune: by kind, age and key, for administrators."""

from __future__ import annotations

from typing import Any

import pytest
from migrated import migrate

from llmos_server.access.gate import Gate
from llmos_server.store.database import Database
from llmos_server.store.store import Store

TOKEN = "llmos-admin-" + "t" * 43


@pytest.fixture
async def server(make_api, tmp_path):
    store = Store(Database(tmp_path))
    await migrate(store.database)
    api = make_api(store=store, gate=Gate(store.keys, admin_token=TOKEN))
    api.store = store
    yield api
    await store.close()


async def prune(server: Any, token: str | None = TOKEN, **fields: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return await server.post("/admin/v1/prune", fields, headers=headers)


async def test_one_keys_objects(server):
    for owner in ("a", ""):
        await server.store.responses.save(owner, {"id": "r", "status": "completed"}, [])
        await server.store.conversations.create(owner, {})
        await server.store.feedback.add(owner, "tiny", None, {"answer": "x"})
    counted = (await prune(server, key="", dry_run=True)).json()
    assert [(one["kind"], one["num_objects"]) for one in counted["data"]] == [
        ("responses", 1),
        ("conversations", 1),
        ("feedback", 1),
        ("files", 0),
        ("jobs", 0),
        ("evals", 0),
        ("adapters", 0),
    ]
    assert counted["dry_run"] is True
    done = (await prune(server, key="", kinds=["conversations", "conversations"])).json()
    assert [(one["kind"], one["num_objects"]) for one in done["data"]] == [("conversations", 1)]
    assert await server.store.responses.get("", "r") is not None
    await prune(server, older_than="0m")
    assert await server.store.responses.get("a", "r") is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"kinds": ["usage"]}, "kinds[0]"), ({"older_than": "x"}, "older_than"), ({"key": "a\x00"}, "key")],
)
async def test_what_cannot_be_meant(server, fields, param):
    reply = await prune(server, **fields)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)
    unknown = (await prune(server, key="none")).json()["error"]
    assert (unknown["code"], unknown["param"]) == ("key_not_found", "key")


async def test_for_administrators_alone(server):
    assert (await prune(server, None)).status_code == 403
