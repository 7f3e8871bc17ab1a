"""Conversations and their items, on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmos_server.errors import InvalidRequest
from llmos_server.settings import StorageSettings
from llmos_server.store.conversation_items import MAX_ITEMS
from llmos_server.store.database import Database
from llmos_server.store.store import Store


def items(*names: str) -> list[dict[str, Any]]:
    return [{"id": name, "type": "message", "content": f"{name} \x00 ü 😀"} for name in names]


async def ids(store: Store, owner: str, conversation: str, **page: Any) -> list[str]:
    found = await store.conversations.list_items(owner, conversation, **page)
    assert found is not None
    return [item["id"] for item in found.items]


async def test_it_comes_back_as_it_was(store: Store) -> None:
    made = await store.conversations.create("a", {"topic": "ü"}, items("i1"))
    assert await store.conversations.get("a", made.id) == made
    assert made.id.startswith("conv_")
    assert await store.conversations.get_item("a", made.id, "i1") == items("i1")[0]


async def test_metadata_anew(store: Store) -> None:
    made = await store.conversations.create("a", {"topic": "x", "other": "y"})
    changed = await store.conversations.update("a", made.id, {"topic": "z"})
    assert changed is not None
    assert (changed.metadata, changed.created) == ({"topic": "z"}, made.created)
    assert await store.conversations.get("a", made.id) == changed


async def test_another_owners_is_not_there(store: Store) -> None:
    made = await store.conversations.create("a", {}, items("i1"))
    mine = await store.conversations.create("b", {}, items("i1"))
    repository = store.conversations
    assert await repository.get("b", made.id) is None
    assert await repository.update("b", made.id, {"x": "y"}) is None
    assert await repository.list_items("b", made.id) is None
    assert await repository.get_item("b", made.id, "i1") is None
    assert not await repository.add_items("b", made.id, items("i2"))
    assert not await repository.delete_item("b", made.id, "i1")
    assert not await repository.delete("b", made.id)
    assert await repository.get("a", made.id) == made
    assert await ids(store, "a", made.id) == await ids(store, "b", mine.id) == ["i1"]


async def test_deleted_with_its_items(store: Store) -> None:
    made = await store.conversations.create("a", {}, items("i1", "i2"))
    assert await store.conversations.delete("a", made.id)
    assert not await store.conversations.delete("a", made.id)
    assert await store.conversations.list_items("a", made.id) is None
    assert await store.conversations.get_item("a", made.id, "i1") is None
    assert not await store.conversations.add_items("a", made.id, items("i3"))


@pytest.mark.parametrize("name", ["", "a\x00b", "x" * 65, "\ud800"])
async def test_what_can_be_no_id_is_not_there(store: Store, name: str) -> None:
    repository = store.conversations
    assert await repository.get("a", name) is None
    assert await repository.get_item("a", name, "i") is None
    made = await repository.create("a", {})
    assert await repository.get_item("a", made.id, name) is None
    with pytest.raises(InvalidRequest, match="has no item"):
        await repository.list_items("a", made.id, after=name)
    with pytest.raises(InvalidRequest, match="1 to 64 characters"):
        await repository.add_items("a", made.id, [{"id": name}])


class TestItems:
    async def test_in_their_order_and_back(self, store: Store) -> None:
        made = await store.conversations.create("a", {}, items("z", "y"))
        assert await store.conversations.add_items("a", made.id, items("b", "a"))
        assert await ids(store, "a", made.id) == ["z", "y", "b", "a"]
        assert await ids(store, "a", made.id, order="desc") == ["a", "b", "y", "z"]

    async def test_pages(self, store: Store) -> None:
        made = await store.conversations.create("a", {}, items("1", "2", "3"))
        page = await store.conversations.list_items("a", made.id, limit=2)
        assert page is not None
        assert ([item["id"] for item in page.items], page.has_more) == (["1", "2"], True)
        page = await store.conversations.list_items("a", made.id, limit=2, after="2")
        assert page is not None
        assert ([item["id"] for item in page.items], page.has_more) == (["3"], False)
        assert await ids(store, "a", made.id, order="desc", after="2") == ["1"]
        assert await ids(store, "a", made.id, after="3") == []
        with pytest.raises(InvalidRequest, match="has no item 'gone'"):
            await store.conversations.list_items("a", made.id, after="gone")

    async def test_one_goes(self, store: Store) -> None:
        made = await store.conversations.create("a", {}, items("1", "2", "3"))
        assert await store.conversations.delete_item("a", made.id, "2")
        assert not await store.conversations.delete_item("a", made.id, "2")
        assert await ids(store, "a", made.id) == ["1", "3"]
        assert await store.conversations.add_items("a", made.id, items("2"))
        assert await ids(store, "a", made.id) == ["1", "3", "2"]

    async def test_an_id_twice_is_refused_and_nothing_added(self, store: Store) -> None:
        made = await store.conversations.create("a", {}, items("1"))
        for new in (items("2", "1"), items("3", "3")):
            with pytest.raises(InvalidRequest) as refused:
                await store.conversations.add_items("a", made.id, new)
            assert refused.value.code == "duplicate_item"
        assert await ids(store, "a", made.id) == ["1"]

    async def test_writers_at_once_take_turns(self, store: Store) -> None:
        made = await store.conversations.create("a", {})
        names = [[f"{writer}.{n}" for n in range(3)] for writer in range(8)]
        await asyncio.gather(*(store.conversations.add_items("a", made.id, items(*some)) for some in names))
        found = await ids(store, "a", made.id)
        assert sorted(found) == sorted(name for some in names for name in some)
        assert all(found[found.index(some[0]) :][:3] == some for some in names)

    async def test_most_items(self, store: Store) -> None:
        made = await store.conversations.create("a", {}, items(*(f"i{n}" for n in range(MAX_ITEMS - 1))))
        assert await store.conversations.add_items("a", made.id, items("last"))
        with pytest.raises(InvalidRequest, match=f"may have {MAX_ITEMS}"):
            await store.conversations.add_items("a", made.id, items("more"))
        assert await store.conversations.delete_item("a", made.id, "i0")
        assert await store.conversations.add_items("a", made.id, items("more"))

    async def test_most_bytes(self, empty: Database, store: Store) -> None:
        small = Store(empty, StorageSettings(max_object_bytes=200))
        with pytest.raises(InvalidRequest, match="max_object_bytes allows 200"):
            await small.conversations.create("a", {}, items("1", "2", "3", "4", "5"))
        made = await small.conversations.create("a", {}, items("1", "2"))
        with pytest.raises(InvalidRequest, match="max_object_bytes"):
            await small.conversations.add_items("a", made.id, items("3", "4"))
        assert await small.conversations.delete_item("a", made.id, "1")
        assert await small.conversations.add_items("a", made.id, items("3"))
