"""Which version answers to an alias: the last change holds, and each can be taken back once."""

from __future__ import annotations

import pytest

from llmos_server.adapter_contracts import AdapterVersion, Promotion
from llmos_server.errors import InvalidRequest
from llmos_server.store.promotions import KEPT
from llmos_server.store.store import Store


def adapter(store: Store, digit: str, owner: str = "") -> AdapterVersion:
    folder = str(store.database.home / "adapters" / (digit * 64))
    return AdapterVersion(
        name=f"tiny:{digit}", base="tiny", base_digest="sha256:0", digest=f"sha256:{digit * 64}", folder=folder, rank=8,
        num_bytes=100, owner=owner, created=7,
    )  # fmt: skip


async def put(store: Store, digit: str, alias: str = "orders", owner: str = "") -> Promotion:
    found = adapter(store, digit, owner)
    return await store.promotions.promote(alias, found.name, found.digest, found, "key_1")


async def back(store: Store) -> str:
    before = await store.promotions.previous("orders")
    return (await store.promotions.roll_back("orders", "", before.number)).model


async def held(store: Store) -> dict[str, str]:
    return {one.alias: one.model for one in await store.promotions.list()}


async def test_the_last_one_holds_and_rollbacks_go_on_to_what_was_before(store: Store) -> None:
    for digit in "abc":
        made = await put(store, digit)
        assert (made.alias, made.action, made.made_by) == ("orders", "promote", "key_1")
        assert made.adapter == adapter(store, digit)
    await put(store, "d", "other")
    assert await held(store) == {"orders": "tiny:c", "other": "tiny:d"}
    assert [await back(store), await back(store)] == ["tiny:b", "tiny:a"]
    with pytest.raises(InvalidRequest, match="llmos demote orders"):
        await back(store)
    await put(store, "e")
    assert await back(store) == "tiny:a"
    history = [(one.number, one.action, one.model[-1]) for one in await store.promotions.history("orders")]
    assert history[:3] == [(7, "rollback", "a"), (6, "promote", "e"), (5, "rollback", "a")]
    assert await store.promotions.find("nothing") is None


async def test_what_was_promoted_meanwhile_is_not_rolled_back(store: Store) -> None:
    first = await put(store, "a")
    await put(store, "b")
    await put(store, "c")
    with pytest.raises(InvalidRequest, match="changed meanwhile"):
        await store.promotions.roll_back("orders", "", first.number)
    assert await held(store) == {"orders": "tiny:c"}


async def test_files_are_kept_as_long_as_a_rollback_may_need_them(store: Store) -> None:
    await put(store, "a")
    for _ in range(KEPT):
        await put(store, "b")
    assert len(await store.promotions.history("orders")) == KEPT
    await put(store, "c", "other")
    assert await store.adapters.digests() == {adapter(store, digit).digest for digit in "bc"}
    assert await store.promotions.remove("other")
    assert not await store.promotions.remove("other")
    assert await store.adapters.digests() == {adapter(store, "b").digest}


async def test_what_led_to_a_keys_adapters_goes_with_its_data(store: Store) -> None:
    await put(store, "a", owner="ann")
    await put(store, "b", owner="bob")
    await put(store, "c", "others", owner="bob")
    await put(store, "d", "others", owner="ann")
    assert await store.promotions.count_of("ann") == 2
    assert await store.promotions.remove_of("ann") == 2
    assert await held(store) == {"orders": "tiny:b"}, "no alias falls back by itself"
    with pytest.raises(InvalidRequest, match="Nothing answered"):
        await back(store)
