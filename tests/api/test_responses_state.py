"""/v1/responses with state: chains, conversations, references, and work in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from agent_fakes import add_tools, calls, turns
from migrated import migrate
from response_events import assemble, parse

from llmos_server.access.gate import Gate
from llmos_server.api.responding.toolset import Toolset, _shown
from llmos_server.api.services import STATE_KEY
from llmos_server.settings import StorageSettings
from llmos_server.store.database import Database
from llmos_server.store.store import Store

URL = "/v1/responses"
NOBODY = ""


@pytest.fixture
async def store(tmp_path):
    store = Store(Database(tmp_path))
    await migrate(store.database)
    yield store
    await store.close()


@pytest.fixture
def make_stateful(make_api: Any, fakes: Any, store: Store) -> Callable[..., Any]:
    def make(*answers: str, **options: Any) -> Any:
        return make_api(
            turns(*answers),
            renderer=fakes.ByteRenderer(template="<tool_call></tool_call></think>"),
            max_model_len=20000,
            store=store,
            plugins=add_tools(fakes.create_skills()),
            **options,
        )

    return make


async def respond(api: Any, input: Any = "Hi", headers: Any = None, **fields: Any) -> dict[str, Any]:
    reply = await api.post(URL, {"input": input, **fields}, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()


async def refuse(api: Any, status: int = 400, input: Any = "Hi", headers: Any = None, **fields: Any) -> dict[str, Any]:
    reply = await api.post(URL, {"input": input, **fields}, headers=headers)
    assert reply.status_code == status, reply.text
    return reply.json()["error"]


def prompt_of(api: Any, place: int = -1) -> str:
    return api.renderer.decode(api.generator.requests[place].prompt_ids, skip_special_tokens=False)


async def test_a_chain_of_responses_is_a_conversation(make_stateful, store):
    api = make_stateful("<think>hm</think>Bea.", "Yes.", "No.")
    first = await respond(api, "My name is Bea.", instructions="Be brief.")
    assert first["store"] is True
    second = await respond(api, "Sure?", previous_response_id=first["id"], instructions="Shout.")
    assert second["previous_response_id"] == first["id"]
    text = "<turn>system:Shout.\n<turn>user:My name is Bea.\n<turn>assistant:Bea.\n<turn>user:Sure?\n<turn>assistant:"
    assert prompt_of(api) == text
    third = parse((await api.post(URL, {"input": "?", "previous_response_id": second["id"], "stream": True})).text)
    assert "assistant:Yes." in prompt_of(api)
    saved = await store.responses.get(NOBODY, assemble(third)["id"])
    assert saved.response["output"] == assemble(third)["output"]
    assert [item["content"][0]["text"] for item in saved.input_items] == ["?"]


async def test_what_is_not_to_be_stored_is_not(make_stateful, store):
    api = make_stateful("Hello")
    found = await respond(api, store=False)
    assert found["store"] is False
    assert await store.responses.get(NOBODY, found["id"]) is None
    error = await refuse(api, previous_response_id=found["id"])
    assert (error["param"], error["code"]) == ("previous_response_id", "previous_response_not_found")


async def test_another_keys_state_is_not_there(make_stateful, fakes):
    keys = fakes.MemoryKeys()
    mine, other = ({"Authorization": f"Bearer {keys.add()}"} for _ in range(2))
    api = make_stateful("Hello", gate=Gate(keys))
    found = await respond(api, headers=mine)
    await respond(api, headers=mine, previous_response_id=found["id"])
    reference = [{"type": "item_reference", "id": found["output"][0]["id"]}, {"role": "user", "content": "?"}]
    await respond(api, reference, headers=mine)
    assert (await refuse(api, headers=other, previous_response_id=found["id"]))["code"] == "previous_response_not_found"
    assert (await refuse(api, 404, reference, headers=other))["code"] == "item_not_found"


async def test_references_to_items(make_stateful):
    api = make_stateful("<think>hm</think>So." + calls(("w", {})), "Done.")
    tools = [{"type": "function", "name": "w"}]
    found = await respond(api, tools=tools)
    items = [{"type": "item_reference", "id": item["id"]} for item in found["output"]]
    items[0] = {"id": items[0]["id"]}
    output = {"type": "function_call_output", "call_id": found["output"][2]["call_id"], "output": "fine"}
    await respond(api, [{"role": "user", "content": "Hi"}, *items, output], tools=tools)
    assert "assistant:So." in prompt_of(api)
    assert "tool:fine" in prompt_of(api)
    unknown = "msg_" + "0" * 36
    for item_id in (unknown, "msg_1", "nonsense"):
        error = await refuse(api, 404, [{"type": "item_reference", "id": item_id}])
        assert (error["param"], error["code"]) == ("input[0]", "item_not_found")


async def test_a_conversation_keeps_what_is_said(make_stateful, store):
    api = make_stateful("Bea.", "Yes.")
    made = await store.conversations.create(NOBODY, {})
    first = await respond(api, "My name is Bea.", conversation=made.id)
    assert first["conversation"] == {"id": made.id}
    await respond(api, "Sure?", conversation={"id": made.id})
    assert "assistant:Bea.\n<turn>user:Sure?" in prompt_of(api)
    page = await store.conversations.list_items(NOBODY, made.id)
    assert [item["role"] for item in page.items] == ["user", "assistant", "user", "assistant"]
    assert (await refuse(api, 404, conversation="conv_none"))["param"] == "conversation"
    assert (await refuse(api, conversation=made.id, previous_response_id=first["id"]))["param"] == "conversation"
    assert (await refuse(api, conversation=made.id, store=False))["param"] == "store"


async def test_an_item_that_the_conversation_has_already_is_refused(make_stateful, store):
    api = make_stateful("Bea.", "Yes.")
    made = await store.conversations.create(NOBODY, {})
    await respond(api, [{"role": "user", "content": "Hi", "id": "msg_1"}], conversation=made.id)
    again = [{"role": "user", "content": "New"}, {"role": "user", "content": "Hi", "id": "msg_1"}]
    for known in (again, [{**again[1], "id": "msg_2"}, {**again[1], "id": "msg_2"}]):
        error = await refuse(api, input=known, conversation=made.id)
        assert (error["param"], error["code"]) == ("input[1].id", "duplicate_item")
    assert len((await store.conversations.list_items(NOBODY, made.id)).items) == 2
    await respond(api, [{"type": "item_reference", "id": "msg_1"}, again[0]], conversation=made.id)
    assert len((await store.conversations.list_items(NOBODY, made.id)).items) == 4


async def test_approval_by_a_chain(make_stateful):
    api = make_stateful(calls(("pay", {"a": 7})), "Paid.")
    tools = [{"type": "plugin_tool", "name": "pay"}]
    first = await respond(api, "Pay", tools=tools)
    answer = [{"type": "mcp_approval_response", "approval_request_id": first["output"][0]["id"], "approve": True}]
    second = await respond(api, answer, tools=tools, previous_response_id=first["id"])
    assert [item["type"] for item in second["output"]] == ["mcp_call", "message"]
    third = await respond(api, "Thanks", tools=tools, previous_response_id=second["id"])
    assert [item["type"] for item in third["output"]] == ["message"]
    assert prompt_of(api).count("'name': 'pay'") == 2  # The tool, and the one call.


async def test_without_a_database(api):
    found = await respond(api)
    assert found["store"] is False
    reply = await api.post(URL, {"input": "Hi", "store": True})
    assert (reply.json()["store"], reply.headers["X-LLMOS-Ignored"]) == (False, "store")
    for fields in ({"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"background": True}):
        assert (await refuse(api, **fields))["param"] == next(iter(fields))


async def test_an_answer_that_cannot_be_stored_is_given_all_the_same(make_api, tmp_path):
    store = Store(Database(tmp_path), StorageSettings(max_object_bytes=100))
    await migrate(store.database)
    api = make_api("Hello", store=store)
    found = await respond(api)
    await store.close()
    assert (found["status"], found["store"]) == ("completed", False)


def jobs_of(api: Any) -> Any:
    return api.app.state[STATE_KEY].jobs


async def wait_for(store: Store, response_id: str, *statuses: str) -> dict[str, Any]:
    for _ in range(400):
        saved = await store.responses.get(NOBODY, response_id)
        assert saved is not None
        if saved.response["status"] in statuses:
            return saved.response
        await asyncio.sleep(0.01)
    raise AssertionError(saved)


async def wait_for_no_jobs(api: Any) -> None:
    for _ in range(400):
        if not len(jobs_of(api)):
            return
        await asyncio.sleep(0.01)
    raise AssertionError


async def test_background_work(make_stateful, store):
    api = make_stateful("Hello")
    api.generator.gate = asyncio.Event()
    found = await respond(api, background=True)
    assert (found["status"], found["output"], found["background"]) == ("queued", [], True)
    assert len(jobs_of(api)) == 1
    await wait_for(store, found["id"], "in_progress")
    assert "not_finished" in (await refuse(api, previous_response_id=found["id"]))["code"]
    api.generator.gate.set()
    done = await wait_for(store, found["id"], "completed")
    assert done["output"][0]["content"][0]["text"] == "Hello"
    await wait_for_no_jobs(api)
    assert (await refuse(api, background=True, store=False))["param"] == "background"


async def test_background_work_outlives_its_client_and_can_be_followed(make_stateful, store):
    api = make_stateful("Hello")
    events = parse((await api.post(URL, {"input": "Hi", "background": True, "stream": True})).text)
    assert [event["type"] for event in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    assert events[-1]["response"]["status"] == "completed"
    api.generator.gate = asyncio.Event()
    task = asyncio.ensure_future(api.post(URL, {"input": "Hi", "background": True, "stream": True}))
    while len(api.generator.generations) < 2:
        await asyncio.sleep(0.01)
    while not task.done():  # Once isn't enough where the response is just being opened: seen once in many runs.
        task.cancel()
        await asyncio.sleep(0.01)
    [(owner, response_id)] = list(jobs_of(api)._jobs)
    job = jobs_of(api).find(owner, response_id)
    api.generator.gate.set()
    frames = b"".join([frame async for frame in job.follow(1)])
    assert parse(frames.decode())[0]["sequence_number"] == 2
    assert (await wait_for(store, response_id, "completed"))["id"] == response_id


def events_of(text: str) -> list[str]:
    """Without the comments between them."""
    return [block for block in text.split("\n\n") if block.startswith("event: ")]


async def test_the_events_of_background_work_are_told_again_after_its_end(make_stateful, store):
    api = make_stateful(calls(("add", {"a": 1, "b": 2})), "Three.\u2028")
    tools = [{"type": "plugin_tool", "name": "add"}]
    body = {"input": "1 + 2", "tools": tools, "background": True, "stream": True}
    told = events_of((await api.post(URL, body)).text)
    await wait_for_no_jobs(api)
    response_id = parse(told[0] + "\n\n")[0]["response"]["id"]
    again = await api.http.get(f"{URL}/{response_id}?stream=true")
    assert again.headers["content-type"].startswith("text/event-stream")
    assert events_of(again.text) == told
    rest = await api.http.get(f"{URL}/{response_id}?stream=true&starting_after=4")
    assert events_of(rest.text) == told[5:]
    assert events_of((await api.http.get(f"{URL}/{response_id}?stream=true&starting_after=9999")).text) == []


async def test_the_events_of_what_was_cancelled_end_with_its_end(make_stateful, store):
    api = make_stateful("Hello")
    api.generator.gate = asyncio.Event()
    found = await respond(api, background=True)
    await wait_for(store, found["id"], "in_progress")
    await api.post(f"{URL}/{found['id']}/cancel")
    *_, last = parse((await api.http.get(f"{URL}/{found['id']}?stream=true")).text)
    assert (last["type"], last["response"]["status"]) == ("response.failed", "cancelled")


async def test_background_work_that_is_too_large_to_be_kept_has_failed(make_api, tmp_path):
    """Nobody waits for ever for its end."""
    store = Store(Database(tmp_path), StorageSettings(max_object_bytes=2000))
    await migrate(store.database)
    api = make_api("x" * 3000, store=store, max_model_len=9000)
    found = await respond(api, background=True)
    failed = await wait_for(store, found["id"], "failed")
    assert "storage.max_object_bytes" in failed["error"]["message"]
    assert failed["output"] == []
    await wait_for_no_jobs(api)
    await store.close()


async def test_background_work_that_is_cancelled_stopped_deleted_or_fails(make_stateful, store):
    api = make_stateful("Hello")
    api.generator.gate = asyncio.Event()
    ids = [(await respond(api, background=True))["id"] for _ in range(3)]
    for response_id in ids:
        await wait_for(store, response_id, "in_progress")
    await jobs_of(api).cancel(NOBODY, ids[0])
    assert (await wait_for(store, ids[0], "cancelled"))["status"] == "cancelled"
    await store.responses.delete(NOBODY, ids[1])
    await jobs_of(api).stop()
    assert await store.responses.get(NOBODY, ids[1]) is None
    stopped = await wait_for(store, ids[2], "failed")
    assert "shutting down" in stopped["error"]["message"]
    assert api.generator.num_holds == 0
    assert all(generation.aborted.is_set() for generation in api.generator.generations)
    api.generator.gate = None
    api.generator.fail_after = 1
    failed = await wait_for(store, (await respond(api, background=True))["id"], "failed")
    assert failed["error"]["code"] == "server_error"
    too_long = await wait_for(store, (await respond(api, "x" * 30000, background=True))["id"], "failed")
    assert too_long["error"]["code"] == "invalid_prompt"


async def test_background_work_takes_a_place_of_its_key_at_once(make_stateful, fakes):
    keys = fakes.MemoryKeys()
    headers = {"Authorization": f"Bearer {keys.add(max_in_flight=1)}"}
    api = make_stateful("Hello", gate=Gate(keys))
    api.generator.gate = asyncio.Event()
    await respond(api, headers=headers, background=True)
    assert (await api.post(URL, {"input": "Hi", "background": True}, headers=headers)).status_code == 429
    assert len(jobs_of(api)) == 1
    api.generator.gate.set()
    await wait_for_no_jobs(api)
    await respond(api, headers=headers, background=True)
    await wait_for_no_jobs(api)


def test_no_secret_of_a_tool_is_stored():
    shown = _shown({"type": "mcp", "server_label": "s", "authorization": "x", "headers": {"a": "b"}}, Toolset())
    assert shown == {"type": "mcp", "server_label": "s"}
