"""Which models are pinned."""

from __future__ import annotations

from llmos_server.store.store import Store


async def test_pins_are_kept_once_each(store: Store) -> None:
    pins = store.pinned_models
    assert await pins.list() == []
    for name in ("hf:b/c", "a", "hf:b/c"):
        await pins.add(name)
    assert await pins.list() == ["a", "hf:b/c"]
    for name in ("hf:b/c", "never"):
        await pins.remove(name)
    assert await pins.list() == ["a"]
