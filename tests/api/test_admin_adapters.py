"""/admin/v1/adapters: who may use what was tuned."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from migrated import migrate

from llmos_server.access.gate import Gate
from llmos_server.access.keys import make_key
from llmos_server.adapter_contracts import AdapterVersion
from llmos_server.errors import InvalidRequest
from llmos_server.store.database import Database
from llmos_server.store.store import Store

TOKEN = "llmos-admin-" + "t" * 43
NAME = "tiny:tidy"


def adapter(digit: str, owner: str, name: str = NAME) -> AdapterVersion:
    digest, base = f"sha256:{digit * 64}", name.rpartition(":")[0]
    weights = f"sha256:{'0' * 64}"
    return AdapterVersion(
        name=name, base=base, base_digest=weights, digest=digest, folder="", rank=8, num_bytes=9, owner=owner
    )


class Server:
    def __init__(self, api: Any, store: Store) -> None:
        self.api, self.store = api, store

    async def call(self, method: str, path: str = "", body: Any = None, key: str = TOKEN) -> Any:
        url, headers = f"/admin/v1/adapters{path}", {"Authorization": f"Bearer {key}"}
        return await self.api.http.request(method, url, json=body, headers=headers)


@pytest.fixture
async def server(make_api: Any, tmp_path: Any) -> AsyncIterator[Server]:
    store = Store(Database(tmp_path))
    await migrate(store.database)
    for digit, owner in (("a", "ann"), ("b", "bob")):
        await store.adapters.register(adapter(digit, owner))
    yield Server(make_api(store=store, gate=Gate(store.keys, admin_token=TOKEN)), store)
    await store.close()


async def test_everybodys_are_listed_and_one_is_promoted_and_taken_back(server: Server) -> None:
    listed = (await server.call("GET")).json()["data"]
    assert [(each["name"], each["owner"], each["is_shared"]) for each in listed] == [
        (NAME, "ann", False),
        (NAME, "bob", False),
    ]
    assert await server.store.adapters.find("eve", NAME) is None
    shared = await server.call("POST", "/share", {"name": NAME, "owner": "ann"})
    assert (shared.status_code, shared.json()["is_shared"]) == (200, True)
    found = await server.store.adapters.find("eve", NAME)
    assert found is not None
    assert found.owner == "ann"
    back = await server.call("POST", "/unshare", {"name": NAME, "owner": "ann"})
    assert back.json()["is_shared"] is False
    assert await server.store.adapters.find("eve", NAME) is None


async def test_two_of_a_name_are_not_both_everybodys(server: Server) -> None:
    await server.call("POST", "/share", {"name": NAME, "owner": "ann"})
    second = await server.call("POST", "/share", {"name": NAME, "owner": "bob"})
    assert second.status_code == 400
    assert "is everybody's already" in second.json()["error"]["message"]


async def test_what_is_not_there_and_who_is_no_administrator(server: Server) -> None:
    missing = await server.call("POST", "/share", {"name": NAME, "owner": "eve"})
    assert (missing.status_code, missing.json()["error"]["param"]) == (404, "name")
    assert (await server.call("POST", "/share", {"owner": "ann"})).status_code == 400
    assert "Say whose: ann, bob" in (await server.call("POST", "/load", {"name": NAME})).text
    key, text = make_key("ann", 1)
    await server.store.keys.add(key)
    for method, path, body in (("GET", "", None), ("POST", "/share", {"name": NAME, "owner": "ann"})):
        assert (await server.call(method, path, body, text)).status_code == 403


async def test_one_is_loaded_ahead_of_its_first_request_and_unloaded(server: Server) -> None:
    body, digest = {"name": NAME, "owner": "ann"}, f"sha256:{'a' * 64}"
    loaded = await server.call("POST", "/load", body)
    assert (loaded.status_code, loaded.json()["is_loaded"], loaded.json()["loaded_bytes"]) == (200, True, 9)
    assert [one.digest for one in server.api.generator.adapters] == [digest]
    assert server.api.generator.num_holds == 0
    one = (await server.call("GET", f"/{NAME}?owner=ann")).json()
    assert (one["adapter"], one["training"], one["aliases"]) == (loaded.json(), None, [])
    listed = (await server.call("GET")).json()["data"]
    assert [(one["owner"], one["is_loaded"], one["last_used"]) for one in listed] == [
        ("ann", True, None),
        ("bob", False, None),
    ]
    unloaded = await server.call("POST", "/unload", body)
    assert (unloaded.status_code, unloaded.json()["is_loaded"]) == (200, False)
    assert server.api.generator.adapters == []


async def test_what_cant_be_loaded_is_told(server: Server) -> None:
    server.api.generator.adapter_failure = InvalidRequest("There is no room.", code="adapter_failed")
    refused = await server.call("POST", "/load", {"name": NAME, "owner": "ann"})
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "There is no room.")
    await server.store.adapters.register(adapter("c", "", "gone:1b:tidy"))
    assert (await server.call("POST", "/load", {"name": "gone:1b:tidy"})).status_code == 404
