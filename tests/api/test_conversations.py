"""/v1/conversations with the stock SDK, its limits, and what is refused by name."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from stored_api import HELLO, open_stored_api

URL = "/v1/conversations"


@pytest.fixture
async def server(make_api, tmp_path):
    async with open_stored_api(make_api, tmp_path) as opened:
        yield opened


async def make(server: Any, **body: Any) -> str:
    reply = await server.call("POST", URL, body)
    assert reply.status_code == 200, reply.text
    return reply.json()["id"]


async def refuse(server: Any, path: str, body: Any, method: str = "POST") -> dict[str, Any]:
    reply = await server.call(method, path, body)
    assert reply.status_code == 400, reply.text
    return reply.json()["error"]


async def test_from_its_creation_to_its_end(server):
    conversations = server.sdk().conversations
    made = await conversations.create(metadata={"topic": "demo"}, items=[HELLO])
    assert (made.object, made.metadata) == ("conversation", {"topic": "demo"})
    assert made.id.startswith("conv_")
    assert await conversations.retrieve(made.id) == made
    changed = await conversations.update(made.id, metadata={"topic": "other"})
    assert (changed.metadata, changed.created_at) == ({"topic": "other"}, made.created_at)
    gone = await conversations.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "conversation.deleted")
    with pytest.raises(openai.NotFoundError, match="No conversation of yours"):
        await conversations.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        await conversations.items.list(made.id)


async def test_ones_own_are_listed(server):
    made = [await make(server, metadata={"title": str(number)}, items=[HELLO] * number) for number in range(3)]
    page = (await server.call("GET", f"{URL}?limit=2")).json()
    assert (page["object"], page["has_more"], page["last_id"]) == ("list", True, page["data"][-1]["id"])
    rest = (await server.call("GET", f"{URL}?limit=2&after={page['last_id']}")).json()
    listed = [*page["data"], *rest["data"]]
    assert {one["id"] for one in listed} == set(made)
    assert {one["metadata"]["title"]: one["num_items"] for one in listed} == {"0": 0, "1": 1, "2": 2}
    assert all(one["changed_at"] >= one["created_at"] for one in listed)
    oldest_first = (await server.call("GET", f"{URL}?order=asc")).json()["data"]
    assert [one["id"] for one in oldest_first] == [one["id"] for one in listed][::-1]
    assert (await refuse(server, f"{URL}?after=none", None, "GET"))["param"] == "after"


async def test_its_items(server):
    conversations = server.sdk().conversations
    made = await conversations.create(items=[HELLO])
    added = await conversations.items.create(
        made.id,
        items=[
            {"role": "assistant", "content": "Hi"},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}", "id": "fc_own"},
            {"type": "function_call_output", "call_id": "c1", "output": "42"},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Bye"}]},
        ],
    )
    assert [item.type for item in added.data] == ["message", "function_call", "function_call_output", "message"]
    assert added.data[0].content[0].type == "output_text"
    assert added.data[1].id == "fc_own"
    assert not added.has_more
    listed = [item async for item in conversations.items.list(made.id, order="asc", limit=2)]
    assert [item.type for item in listed] == ["message", *(item.type for item in added.data)]
    assert listed[0].content[0].text == "Hello"
    newest = await conversations.items.list(made.id, limit=1)
    assert (newest.data[0].content[0].text, newest.has_more, newest.last_id) == ("Bye", True, newest.data[0].id)
    one = await conversations.items.retrieve("fc_own", conversation_id=made.id)
    assert (one.name, one.arguments, one.status) == ("f", "{}", "completed")
    assert (await conversations.items.delete("fc_own", conversation_id=made.id)).id == made.id
    with pytest.raises(openai.NotFoundError, match="has no item 'fc_own'"):
        await conversations.items.retrieve("fc_own", conversation_id=made.id)
    assert len([item async for item in conversations.items.list(made.id)]) == 4


async def test_hints_are_kept_and_unknown_fields_told(server):
    part = {"type": "output_text", "text": "x", "annotations": [], "logprobs": []}
    message = {"type": "message", "role": "assistant", "status": "incomplete", "content": [part], "id": "m", "odd": 1}
    reply = await server.call("POST", URL, {"items": [message]})
    assert reply.headers["X-LLMOS-Ignored"] == "items[0].odd"
    item = (await server.call("GET", f"{URL}/{reply.json()['id']}/items/m")).json()
    assert item == {name: value for name, value in message.items() if name != "odd"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"x" * 65: "x"}}, "metadata"),
        ({"metadata": {"x": "x" * 513}}, "metadata[...]"),
        ({"metadata": {"x": 1}}, "metadata[...]"),
        ({"items": [HELLO] * 21}, "items"),
        ({"items": [{"type": "web_search_call"}]}, "items[0].type"),
        ({"items": [{"type": "item_reference", "id": "msg_1"}]}, "items[0].type"),
        ({"items": [HELLO, {"role": "tool", "content": "x"}]}, "items[1].role"),
        (
            {"items": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "items[0].content[0].image_url",
        ),
        ({"items": [{**HELLO, "id": "x" * 65}]}, "items[0].id"),
        ({"items": [{**HELLO, "id": "x"}, {**HELLO, "id": "x"}]}, "items"),
    ],
)
async def test_what_is_refused(server, body, param):
    assert (await refuse(server, URL, body))["param"] == param
    if "items" in body:
        assert (await refuse(server, f"{URL}/{await make(server)}/items", body))["param"] == param


async def test_an_update_names_its_metadata(server):
    conversation = await make(server, metadata={"a": "b"})
    assert (await refuse(server, f"{URL}/{conversation}", {}))["param"] == "metadata"
    cleared = await server.call("POST", f"{URL}/{conversation}", {"metadata": {}})
    assert cleared.json()["metadata"] == {}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("order=up", "order"),
        ("after=none", "after"),
        ("include=odd", "include[0]"),
        ("include[]=file_search_call.results", "include[0]"),
    ],
)
async def test_pages_that_cannot_be(server, query, param):
    conversation = await make(server, items=[HELLO])
    assert (await refuse(server, f"{URL}/{conversation}/items?{query}", None, "GET"))["param"] == param


async def test_unknown_parameters_are_told(server):
    conversation = await make(server)
    reply = await server.call("GET", f"{URL}/{conversation}/items?include[]=reasoning.encrypted_content&odd=1")
    assert reply.json() == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}
    assert reply.headers["X-LLMOS-Ignored"] == "odd"


async def test_a_server_that_keeps_nothing_says_so(make_api, tmp_path):
    async with open_stored_api(make_api, tmp_path, enabled=False) as server:
        old = await server.store.conversations.create(server.owner(), {}, [{**HELLO, "id": "m"}])
        for path, body in ((URL, {}), (f"{URL}/{old.id}", {"metadata": {}}), (f"{URL}/{old.id}/items", {"items": []})):
            error = await refuse(server, path, body)
            assert (error["code"], "storage.enabled" in error["message"]) == ("storage_disabled", True)
        assert (await server.call("GET", f"{URL}/{old.id}/items/m")).status_code == 200
        assert (await server.call("DELETE", f"{URL}/{old.id}")).status_code == 200


async def test_one_that_is_too_large_is_refused(make_api, tmp_path):
    async with open_stored_api(make_api, tmp_path, max_object_bytes=500) as server:
        error = await refuse(server, URL, {"items": [{"role": "user", "content": "x" * 500}]})
        assert (error["code"], error["param"]) == ("object_too_large", "items")
