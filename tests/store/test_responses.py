"""Stored responses, on both databases."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from llmos_server.errors import InvalidRequest
from llmos_server.settings import StorageSettings
from llmos_server.store.chains import MAX_CHAIN
from llmos_server.store.conversations import ConversationRepository
from llmos_server.store.database import Database
from llmos_server.store.response_logs import ROWS_AT_ONCE, reading_earlier, reading_responses
from llmos_server.store.responses import BATCH_ROWS, ResponseRepository
from llmos_server.store.store import Store


def message(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"msg_{name}", "type": "message", "status": "completed", "content": f"{name} \x00 ü 😀", **fields}


def response(name: str, previous: str | None = None, **fields: Any) -> dict[str, Any]:
    given = {"status": "completed", "output": [message(f"{name}_out")], "previous_response_id": previous, **fields}
    return {"id": name, "object": "response", **given}


async def save_chain(store: Store, owner: str, *names: str, **fields: Any) -> None:
    for place, name in enumerate(names):
        previous = names[place - 1] if place else None
        await store.responses.save(owner, response(name, previous, **fields), [message(f"{name}_in")])


async def test_it_comes_back_as_it_was(store: Store) -> None:
    await store.responses.save("a", response("resp_1"), [message("in")])
    found = await store.responses.get("a", "resp_1")
    assert found is not None
    assert (found.response, found.input_items, found.is_finished) == (response("resp_1"), [message("in")], True)


async def test_another_owners_is_not_there(store: Store) -> None:
    await save_chain(store, "a", "resp_1")
    assert await store.responses.get("b", "resp_1") is None
    assert await store.responses.history("b", "resp_1") is None
    assert not await store.responses.delete("b", "resp_1")
    await store.responses.save("b", response("resp_1", status="failed"), [])
    found = await store.responses.get("a", "resp_1")
    assert found is not None
    assert found.response["status"] == "completed"


async def test_saving_again_replaces(store: Store) -> None:
    await store.responses.save("a", response("resp_1", status="queued"), [message("in")])
    await store.responses.save("a", response("resp_1"), [message("in"), message("more")])
    found = await store.responses.get("a", "resp_1")
    assert found is not None
    assert (found.response["status"], len(found.input_items)) == ("completed", 2)


async def test_deleted_is_gone(store: Store) -> None:
    await save_chain(store, "a", "resp_1")
    assert await store.responses.delete("a", "resp_1")
    assert not await store.responses.delete("a", "resp_1")
    assert await store.responses.get("a", "resp_1") is None


@pytest.mark.parametrize("name", ["", "a\x00b", "x" * 65, "\ud800"])
async def test_what_can_be_no_id_is_not_there(store: Store, name: str) -> None:
    assert await store.responses.get("a", name) is None
    assert await store.responses.history("a", name) is None
    assert not await store.responses.delete("a", name)


async def test_what_is_too_large_is_refused(empty: Database, store: Store) -> None:
    small = Store(empty, StorageSettings(max_object_bytes=300))
    with pytest.raises(InvalidRequest, match="max_object_bytes allows 300") as refused:
        await small.responses.save("a", response("resp_1"), [message("in" * 100)])
    assert (refused.value.param, refused.value.code) == ("store", "object_too_large")
    await small.responses.save("a", response("resp_1", status="queued", output=[]), [])
    with pytest.raises(InvalidRequest, match="max_object_bytes"):
        await small.responses.replace_unfinished("a", response("resp_1", output=[message("out" * 100)]))


class TestHistory:
    async def test_input_and_output_of_all_the_oldest_first(self, store: Store) -> None:
        await save_chain(store, "a", "r1", "r2", "r3")
        await save_chain(store, "a", "other")
        items = await store.responses.history("a", "r3")
        assert items is not None
        names = [item["id"].removeprefix("msg_") for item in items]
        assert names == ["r1_in", "r1_out", "r2_in", "r2_out", "r3_in", "r3_out"]
        assert len(await store.responses.history("a", "r2") or ()) == 4

    async def test_a_chain_of_another_owner_is_not_gone_on_from(self, store: Store) -> None:
        await save_chain(store, "b", "r1")
        await store.responses.save("a", response("r2", "r1"), [])
        with pytest.raises(InvalidRequest, match="'r2' goes on from 'r1', which was deleted"):
            await store.responses.history("a", "r2")

    async def test_a_missing_one_is_told(self, store: Store) -> None:
        await save_chain(store, "a", "r1", "r2", "r3")
        await store.responses.delete("a", "r1")
        with pytest.raises(InvalidRequest, match="'r1', which was deleted") as refused:
            await store.responses.history("a", "r3")
        assert (refused.value.param, refused.value.code) == ("previous_response_id", "previous_response_not_found")

    async def test_an_unfinished_one_is_told(self, store: Store) -> None:
        await save_chain(store, "a", "r1", "r2", status="in_progress")
        with pytest.raises(InvalidRequest, match="'r1' isn't finished"):
            await store.responses.history("a", "r2")

    async def test_it_is_bounded_in_number(self, store: Store) -> None:
        await save_chain(store, "a", *(f"r{n}" for n in range(MAX_CHAIN + 1)))
        assert len(await store.responses.history("a", f"r{MAX_CHAIN - 1}") or ()) == 2 * MAX_CHAIN
        with pytest.raises(InvalidRequest, match=f"{MAX_CHAIN} responses"):
            await store.responses.history("a", f"r{MAX_CHAIN}")

    async def test_it_is_bounded_in_bytes(self, empty: Database, store: Store) -> None:
        await save_chain(store, "a", "r1", "r2", "r3")
        small = Store(empty, StorageSettings(max_object_bytes=600))
        assert len(await small.responses.history("a", "r1") or ()) == 2
        with pytest.raises(InvalidRequest, match="600 bytes"):
            await small.responses.history("a", "r3")


class TestUnfinished:
    async def test_what_became_of_it(self, store: Store) -> None:
        await store.responses.save("a", response("r1", status="queued", output=[]), [message("in")])
        assert await store.responses.replace_unfinished("a", response("r1", status="in_progress", output=[]))
        assert await store.responses.replace_unfinished("a", response("r1"))
        found = await store.responses.get("a", "r1")
        assert found is not None
        assert (found.response, found.input_items) == (response("r1"), [message("in")])

    async def test_nothing_after_its_end(self, store: Store) -> None:
        await save_chain(store, "a", "r1", status="cancelled")
        for owner, name in (("a", "r1"), ("a", "none"), ("b", "r1")):
            assert not await store.responses.replace_unfinished(owner, response(name))
        found = await store.responses.get("a", "r1")
        assert found is not None
        assert found.response["status"] == "cancelled"

    async def test_servers_that_run_keep_theirs(self, empty: Database, store: Store) -> None:
        other = Store(empty)
        await other.presence.start()
        await save_chain(other, "a", "r1", status="in_progress")
        await store.serve()
        await save_chain(store, "a", "r2", status="queued")
        assert await store.responses.fail_unfinished() == 0
        await other.presence.stop()
        assert await store.responses.fail_unfinished() == 1
        statuses = [(await store.responses.get("a", name)).response["status"] for name in ("r1", "r2")]
        assert statuses == ["failed", "queued"]
        await store.presence.stop()

    async def test_what_a_gone_server_left_is_failed(self, empty: Database, store: Store) -> None:
        gone = Store(empty)
        items = [message("done"), message("open", status="in_progress")]
        await save_chain(gone, "a", *(f"r{n}" for n in range(BATCH_ROWS + 1)), status="queued")
        await save_chain(gone, "b", "r", status="in_progress", output=items)
        await save_chain(gone, "b", "ended")
        await store.serve()
        found = await store.responses.get("b", "r")
        assert found is not None
        assert (found.response["status"], found.response["error"]["code"]) == ("failed", "server_error")
        assert "server was stopped" in found.response["error"]["message"]
        assert [item["status"] for item in found.response["output"]] == ["completed", "incomplete"]
        assert found.input_items == [message("r_in")]
        last = await store.responses.get("a", f"r{BATCH_ROWS}")
        assert last is not None
        assert last.response["status"] == "failed"
        assert await store.responses.fail_unfinished() == 0
        assert not await gone.responses.replace_unfinished("b", response("r"))
        await store.presence.stop()


@pytest.mark.parametrize("repository", [ResponseRepository, ConversationRepository])
def test_everything_names_an_owner(repository: type) -> None:
    methods = [
        method
        for name, method in inspect.getmembers(repository, inspect.iscoroutinefunction)
        if not name.startswith("_") and name != "fail_unfinished"
    ]
    assert methods
    for method in methods:
        _, first, *_ = inspect.signature(method).parameters.values()
        assert (first.name, first.annotation, first.default) == ("owner", "str", inspect.Parameter.empty)


async def test_a_log_has_an_owners_finished_ones_page_by_page_and_what_they_went_on_from(store: Store) -> None:
    names = [f"resp_{number:02}" for number in range(ROWS_AT_ONCE + 2)]
    await save_chain(store, "a", *names)
    await save_chain(store, "b", "resp_other")
    await store.responses.save("a", response("resp_running", status="in_progress"), [])
    async with store.database.read() as connection:
        first, has_more = await reading_responses("a", 0, 2**50, None)(connection)
        rest, is_left = await reading_responses("a", 0, 2**50, first[-1])(connection)
        assert (sorted(found.id for found in [*first, *rest]), has_more, is_left) == (names, True, False)
        third = next(found for found in [*first, *rest] if found.id == "resp_02")
        earlier = await reading_earlier("a", third, 2**20)(connection)
        assert [item["id"] for item in earlier] == [
            f"msg_resp_{name}" for name in ("00_in", "00_out", "01_in", "01_out")
        ]
        with pytest.raises(InvalidRequest, match="was deleted"):
            await reading_earlier("b", third, 2**20)(connection)
        assert await reading_responses("a", 0, 1, None)(connection) == ([], False)
