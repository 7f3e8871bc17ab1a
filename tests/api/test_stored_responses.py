"""Stored responses over HTTP: get, delete, cancel and input items, with the stock SDK."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from stored_api import HELLO, open_stored_api

from llmos_server.store.store import Store

URL = "/v1/responses"


@pytest.fixture
async def server(make_api, tmp_path):
    async with open_stored_api(make_api, tmp_path) as opened:
        yield opened


class FakeJob:
    """One that another part of the server makes."""

    def __init__(self, store: Any, owner: str, response: dict[str, Any]) -> None:
        self.store, self.owner, self.response = store, owner, response

    async def cancel(self) -> None:
        output = [{**item, "status": "incomplete"} for item in self.response["output"]]
        cancelled = {**self.response, "status": "cancelled", "output": output}
        await self.store.responses.replace_unfinished(self.owner, cancelled)

    async def stop(self) -> None: ...

    async def follow(self, starting_after: int) -> Any:
        for number in range(starting_after + 1, 3):
            yield b'event: x\ndata: {"sequence_number": %d}\n\n' % number


async def in_background(server: Any, name: str = "resp_bg", **fields: Any) -> dict[str, Any]:
    """A response that is being made."""
    response = {"id": name, "object": "response", "status": "in_progress", "background": True, "output": [], **fields}
    await server.store.responses.save(server.owner(), response, [{**HELLO, "id": "m"}])
    return response


async def test_it_is_there_until_it_is_deleted(server):
    responses = server.sdk().responses
    made = await responses.create(model="tiny", input="Hi", metadata={"a": "b"})
    assert made.store
    assert await responses.retrieve(made.id) == made
    await responses.delete(made.id)
    with pytest.raises(openai.NotFoundError, match="No response of yours"):
        await responses.retrieve(made.id)
    with pytest.raises(openai.NotFoundError):
        await responses.delete(made.id)


async def test_its_input_a_page_at_a_time(server):
    items = [{"role": "user", "content": str(n)} for n in range(5)]
    responses = server.sdk().responses
    made = await responses.create(model="tiny", input=items)
    listed = [item async for item in responses.input_items.list(made.id, limit=2)]
    assert [item.content[0].text for item in listed] == ["4", "3", "2", "1", "0"]
    page = (await server.call("GET", f"{URL}/{made.id}/input_items?order=asc&limit=2")).json()
    assert ([item["content"][0]["text"] for item in page["data"]], page["has_more"]) == (["0", "1"], True)
    after = f"{URL}/{made.id}/input_items?order=asc&after={page['last_id']}"
    rest = (await server.call("GET", after)).json()
    assert ([item["content"][0]["text"] for item in rest["data"]], rest["has_more"]) == (["2", "3", "4"], False)
    refused = await server.call("GET", f"{URL}/{made.id}/input_items?after=none")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "after")


async def test_one_that_was_not_made_in_the_background_is_not_cancelled(server):
    responses = server.sdk().responses
    made = await responses.create(model="tiny", input="Hi")
    with pytest.raises(openai.BadRequestError, match="background: true") as refused:
        await responses.cancel(made.id)
    assert refused.value.code == "not_in_background"


class TestCancel:
    async def test_whoever_makes_it_is_asked(self, server):
        response = await in_background(server, output=[{"id": "m", "type": "message", "status": "in_progress"}])
        jobs = server.api.app.state["services"].jobs
        jobs.add(server.owner(), "resp_bg", FakeJob(server.store, server.owner(), response))
        reply = (await server.call("POST", f"{URL}/resp_bg/cancel")).json()
        assert (reply["status"], reply["output"][0]["status"]) == ("cancelled", "incomplete")

    async def test_another_servers_is_taken_away(self, server):
        await in_background(server)
        assert (await server.call("POST", f"{URL}/resp_bg/cancel")).json()["status"] == "cancelled"
        done = {"id": "resp_bg", "status": "completed"}
        assert not await server.store.responses.replace_unfinished(server.owner(), done)

    @pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "incomplete"])
    async def test_what_has_ended_stays_as_it_is(self, server, status):
        await in_background(server, status=status)
        for _ in range(2):
            assert (await server.call("POST", f"{URL}/resp_bg/cancel")).json()["status"] == status

    async def test_deleting_ends_it(self, server):
        response = await in_background(server)
        jobs = server.api.app.state["services"].jobs
        jobs.add(server.owner(), "resp_bg", FakeJob(server.store, server.owner(), response))
        assert (await server.call("DELETE", f"{URL}/resp_bg")).json() == {
            "id": "resp_bg",
            "object": "response",
            "deleted": True,
        }
        assert await server.store.responses.get(server.owner(), "resp_bg") is None


class TestStream:
    async def test_of_one_that_is_being_made(self, server):
        response = await in_background(server)
        jobs = server.api.app.state["services"].jobs
        jobs.add(server.owner(), "resp_bg", FakeJob(server.store, server.owner(), response))
        whole = await server.call("GET", f"{URL}/resp_bg?stream=true")
        assert whole.headers["content-type"].startswith("text/event-stream")
        assert whole.text.count("event: x") == 3
        rest = await server.call("GET", f"{URL}/resp_bg?stream=true&starting_after=1")
        assert rest.text == 'event: x\ndata: {"sequence_number": 2}\n\n'

    async def test_of_one_that_has_ended_there_is_none(self, server):
        await in_background(server, status="completed")
        reply = await server.call("GET", f"{URL}/resp_bg?stream=true")
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "nothing_to_stream")

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ("stream=maybe", "stream"),
            ("starting_after=x&stream=true", "starting_after"),
            ("starting_after=3", "starting_after"),
            ("include=odd", "include[0]"),
        ],
    )
    async def test_what_cannot_be_meant(self, server, query, param):
        await in_background(server)
        reply = await server.call("GET", f"{URL}/resp_bg?{query}")
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_the_status_of_an_answer_that_was_stopped(server):
    """As a server finds it that starts after another was killed."""
    response = {"id": "resp_bg", "status": "in_progress", "background": True, "output": []}
    await Store(server.store.database).responses.save(server.owner(), response, [])
    await server.store.serve()
    found = (await server.call("GET", f"{URL}/resp_bg")).json()
    assert (found["status"], found["error"]["code"]) == ("failed", "server_error")
