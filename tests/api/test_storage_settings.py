"""What [storage] forbids, over HTTP: nothing kept at all, or no more than a quota."""

from __future__ import annotations

from typing import Any

import pytest
from migrated import migrate

from llmos_server.access.gate import Gate
from llmos_server.settings import StorageSettings
from llmos_server.store.database import Database
from llmos_server.store.store import Store

RESPONSES, CONVERSATIONS = "/v1/responses", "/v1/conversations"


@pytest.fixture
async def make_stored(make_api: Any, tmp_path: Any) -> Any:
    stores: list[Store] = []

    async def make(storage: StorageSettings, **options: Any) -> Any:
        stores.append(Store(Database(tmp_path), storage))
        await migrate(stores[-1].database)
        return make_api("Hello", store=stores[-1], max_model_len=20000, **options)

    yield make
    for store in stores:
        await store.close()


async def refuse(api: Any, path: str, body: dict[str, Any], status: int = 400, **options: Any) -> dict[str, Any]:
    reply = await api.post(path, body, **options)
    assert reply.status_code == status, reply.text
    error: dict[str, Any] = reply.json()["error"]
    return error


class TestNothingIsKept:
    @pytest.fixture
    async def api(self, make_stored: Any) -> Any:
        return await make_stored(StorageSettings(enabled=False))

    async def test_by_default_a_response_says_that_it_is_not_stored(self, api: Any) -> None:
        reply = await api.post(RESPONSES, {"input": "Hi"})
        assert (reply.json()["status"], reply.json()["store"]) == ("completed", False)
        assert "X-LLMOS-Ignored" not in reply.headers
        assert (await api.http.get(f"{RESPONSES}/{reply.json()['id']}")).status_code == 404

    async def test_store_true_is_told(self, api: Any) -> None:
        reply = await api.post(RESPONSES, {"input": "Hi", "store": True})
        assert (reply.json()["store"], reply.headers["X-LLMOS-Ignored"]) == (False, "store")
        strict = {"X-LLMOS-Strict": "1"}
        assert (await refuse(api, RESPONSES, {"input": "Hi", "store": True}, headers=strict))["param"] == "store"

    @pytest.mark.parametrize(
        "fields", [{"background": True}, {"conversation": "conv_1"}, {"previous_response_id": "resp_1"}]
    )
    async def test_what_needs_it_is_refused_by_name(self, api: Any, fields: dict[str, Any]) -> None:
        assert (await refuse(api, RESPONSES, {"input": "Hi", **fields}))["param"] in fields

    async def test_conversations_are_refused(self, api: Any) -> None:
        assert "storage.enabled" in (await refuse(api, CONVERSATIONS, {}))["message"]

    async def test_what_was_kept_before_can_be_read_and_gone_on_from_and_deleted(
        self, api: Any, make_stored: Any
    ) -> None:
        before = await make_stored(StorageSettings())
        kept = (await before.post(RESPONSES, {"input": "Hi"})).json()
        assert (await api.http.get(f"{RESPONSES}/{kept['id']}")).json() == kept
        reply = await api.post(RESPONSES, {"input": "And?", "previous_response_id": kept["id"]})
        assert (reply.status_code, reply.json()["store"]) == (200, False)
        assert (await api.http.delete(f"{RESPONSES}/{kept['id']}")).json()["deleted"] is True


class TestQuota:
    async def test_a_key_that_has_stored_too_much_stores_no_more(self, make_stored: Any, fakes: Any) -> None:
        keys = fakes.MemoryKeys()
        first, second = ({"headers": {"Authorization": f"Bearer {keys.add()}"}} for _ in range(2))
        api = await make_stored(StorageSettings(max_key_bytes=9000), gate=Gate(keys))
        assert (await api.post(RESPONSES, {"input": "x" * 3000}, **first)).json()["store"] is True
        kept = (await api.post(CONVERSATIONS, {}, **first)).json()["id"]
        beyond = (await api.post(RESPONSES, {"input": "x" * 6000}, **first)).json()
        assert (beyond["status"], beyond["store"]) == ("completed", False)
        note = {"metadata": {str(number): "x" * 500 for number in range(12)}}
        error = await refuse(api, CONVERSATIONS, note, 403, **first)
        assert error["code"] == "storage_quota_exceeded"
        assert "llmos prune" in error["message"]
        assert "storage.max_key_bytes" in error["message"]
        item = {"items": [{"role": "user", "content": "x" * 6000}]}
        await refuse(api, f"{CONVERSATIONS}/{kept}/items", item, 403, **first)
        await refuse(api, f"{CONVERSATIONS}/{kept}", note, 403, **first)
        said = {"model": "m", "messages": [{"role": "user", "content": "x" * 6000}], "answer": "y", "rating": 1}
        await refuse(api, "/v1/llmos/feedback", said, 403, **first)
        assert (await api.post("/v1/llmos/feedback", said, **second)).status_code == 200

    async def test_it_is_refused_before_the_model_is_asked(self, make_stored: Any) -> None:
        api = await make_stored(StorageSettings(max_key_bytes=5000))
        note = {"metadata": {str(number): "x" * 100 for number in range(15)}}
        while (await api.post(CONVERSATIONS, note)).status_code == 200:
            pass
        while (await api.post(CONVERSATIONS, {})).status_code == 200:
            pass
        num_asked = len(api.generator.requests)
        for fields in ({}, {"store": True}, {"background": True}, {"stream": True}):
            error = await refuse(api, RESPONSES, {"input": "Hi", **fields}, 403)
            assert error["code"] == "storage_quota_exceeded"
        assert len(api.generator.requests) == num_asked
        assert (await api.post(RESPONSES, {"input": "Hi", "store": False})).status_code == 200

    async def test_what_is_deleted_makes_room(self, make_stored: Any) -> None:
        api = await make_stored(StorageSettings(max_key_bytes=4000))
        note = {"metadata": {str(number): "x" * 500 for number in range(6)}}
        made = (await api.post(CONVERSATIONS, note)).json()["id"]
        await refuse(api, CONVERSATIONS, note, 403)
        smaller = {"metadata": {"a": "b"}}
        assert (await api.post(f"{CONVERSATIONS}/{made}", smaller)).status_code == 200
        again = (await api.post(CONVERSATIONS, note)).json()["id"]
        await api.http.delete(f"{CONVERSATIONS}/{again}")
        assert (await api.post(CONVERSATIONS, note)).status_code == 200
