"""Keys and usage, on both databases."""

from __future__ import annotations

import inspect

import msgspec
import pytest
from rows import key, usage

from llmos_server.errors import InvalidRequest
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import Store
from llmos_server.store.usage import UsageRepository

DAY = 86_400_000


class TestKeys:
    async def test_a_key_comes_back_as_it_was(self, store: Store) -> None:
        full = key(
            models=("a", "b"), skills=("s",), tools=("t",), max_in_flight=3, tokens_per_minute=2**40, is_admin=True
        )
        plain = key("zzzzzzzz", "other", created=1001)
        assert not await store.keys.any_was_made()
        await store.keys.add(full)
        await store.keys.add(plain)
        assert await store.keys.get("abcdefgh") == full
        assert await store.keys.list() == [full, plain]
        assert await store.keys.get("none") is None
        assert await store.keys.any_was_made()

    async def test_two_living_keys_never_share_a_name(self, store: Store) -> None:
        await store.keys.add(key())
        with pytest.raises(InvalidRequest, match="laptop"):
            await store.keys.add(key("other"))
        await store.keys.revoke("laptop", 5)
        await store.keys.add(key("other"))
        assert [k.id for k in await store.keys.list()] == ["abcdefgh", "other"]

    async def test_revoking_by_id_or_name(self, store: Store) -> None:
        await store.keys.add(key("aaaaaaaa", "one"))
        await store.keys.add(key("bbbbbbbb", "aaaaaaaa"))
        assert (await store.keys.revoke("aaaaaaaa", 5)).name == "one"  # An id goes before a name.
        assert (await store.keys.revoke("aaaaaaaa", 6)).id == "bbbbbbbb"
        assert await store.keys.revoke("aaaaaaaa", 7) is None
        assert (await store.keys.get("aaaaaaaa")).revoked == 5
        assert await store.keys.any_was_made()
        assert not await store.keys.any_is_valid()

    async def test_a_change_keeps_the_rest(self, store: Store) -> None:
        await store.keys.add(key(models=("a",), max_in_flight=3))
        await store.keys.add(key("other", "desk"))
        changed = await store.keys.change("abcdefgh", lambda old: msgspec.structs.replace(old, models=None, name="x"))
        assert changed == await store.keys.get("abcdefgh") == key(name="x", max_in_flight=3)
        with pytest.raises(InvalidRequest, match="desk"):
            await store.keys.change("abcdefgh", lambda old: msgspec.structs.replace(old, name="desk"))
        assert await store.keys.change("none", lambda old: old) is None
        await store.keys.add(key("third", "other"))
        assert (await store.keys.find_living("other")).id == "other"  # An id goes before a name.
        assert (await store.keys.find_living("x")).id == "abcdefgh"
        assert await store.keys.find_living("none") is None
        await store.keys.revoke("other", 5)
        assert await store.keys.change("other", lambda old: old) is None

    async def test_last_use(self, store: Store) -> None:
        await store.keys.add(key())
        await store.keys.touch({"abcdefgh": 77, "gone": 1})
        assert (await store.keys.get("abcdefgh")).last_used == 77


class TestUsage:
    async def test_a_row_comes_back_as_it_was(self, store: Store) -> None:
        row = usage(cached_tokens=3, queue_seconds=0.25, request_id="a/b:c")
        await store.usage.write([row])
        assert await store.usage.find("a", "a/b:c") == row

    async def test_a_batch_that_is_written_twice_is_there_once(self, store: Store) -> None:
        rows = [usage(), usage()]
        await store.usage.write(rows)
        await store.usage.write([*rows, usage()])
        [total] = await store.usage.totals("a")
        assert total.requests == 3

    async def test_another_owner_sees_nothing(self, store: Store) -> None:
        await store.usage.write([usage("a", request_id="mine"), usage("b", request_id="theirs"), usage("")])
        assert await store.usage.find("b", "mine") is None
        assert (await store.usage.find(EVERYBODY, "mine")).owner == "a"
        assert [t.requests for t in await store.usage.totals("a")] == [1]
        assert [t.requests for t in await store.usage.totals("none")] == [0]
        assert [t.requests for t in await store.usage.totals("", by="model")] == [1]
        assert [t.requests for t in await store.usage.totals(EVERYBODY)] == [3]

    async def test_totals_by_key_model_and_day(self, store: Store) -> None:
        start = 1_700_000_000_000 // DAY * DAY
        await store.usage.write(
            [
                usage("a", created=start, cached_tokens=1),
                usage("a", created=start + DAY - 1, model="other"),
                usage("b", created=start + DAY),
            ]
        )
        by_key = await store.usage.totals(EVERYBODY, by="key")
        assert [msgspec.structs.astuple(total) for total in by_key] == [
            ("a", 2, 20, 1, 10, 1.0),
            ("b", 1, 10, 0, 5, 0.5),
        ]
        by_model = await store.usage.totals(EVERYBODY, by="model")
        assert [(t.group, t.requests) for t in by_model] == [("other", 1), ("tiny", 2)]
        by_day = await store.usage.totals(EVERYBODY, by="day")
        assert [(t.group, t.requests) for t in by_day] == [("2023-11-14", 2), ("2023-11-15", 1)]
        assert [t.requests for t in await store.usage.totals(EVERYBODY, since=start + DAY)] == [1]

    async def test_the_last_of_several_with_one_id_is_found(self, store: Store) -> None:
        await store.usage.write([usage(created=2, model="late"), usage(created=1, model="early")])
        assert (await store.usage.find("a", "req_1")).model == "late"

    def test_every_read_names_an_owner(self) -> None:
        reads = [
            method
            for name, method in inspect.getmembers(UsageRepository, inspect.iscoroutinefunction)
            if not name.startswith("_") and name != "write"
        ]
        assert reads
        for method in reads:
            _, first, *_ = inspect.signature(method).parameters.values()
            assert (first.name, first.default) == ("owner", inspect.Parameter.empty), method.__name__
