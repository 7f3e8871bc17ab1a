"""Which skills are disabled, on both databases."""

from __future__ import annotations

from llmos_server.store.store import Store


async def test_disabled_until_enabled(store: Store) -> None:
    switches = store.skill_switches
    assert await switches.refresh() == frozenset()
    await switches.disable("code")
    await switches.disable("code")
    assert switches.was_disabled("code")
    assert await switches.is_disabled("code")
    assert not await switches.is_disabled("translation")
    await switches.enable("code")
    await switches.enable("translation")
    assert not switches.was_disabled("code")
    assert await switches.refresh() == frozenset()


async def test_what_another_server_does_is_seen_where_it_is_asked_for(store: Store) -> None:
    other = Store(store.database)
    await other.skill_switches.disable("code")
    assert not store.skill_switches.was_disabled("code")
    assert await store.skill_switches.is_disabled("code")
    assert store.skill_switches.was_disabled("code")
    await other.skill_switches.enable("code")
    assert await store.skill_switches.refresh() == frozenset()
    assert not store.skill_switches.was_disabled("code")
