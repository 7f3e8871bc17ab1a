"""The log of one response's events."""

from __future__ import annotations

import asyncio

from llmos_server.api.responding.event_log import EventLog


async def test_who_follows_gets_every_event_once() -> None:
    log = EventLog(keeps=True)
    log.put("a")
    log.put("b", text="x")
    assert len(log.read(0)) == 2
    waiting = asyncio.ensure_future(log.wait(2))
    await asyncio.sleep(0)
    assert not waiting.done()
    log.put("c")
    await waiting
    assert log.read(2) == [b'event: c\ndata: {"type":"c","sequence_number":2}\n\n']
    log.end()
    await log.wait(3)
    assert (log.read(3), log.num_events) == ([], 3)


async def test_only_what_is_followed_from_several_places_is_kept() -> None:
    log = EventLog(keeps=True, replays=True)
    for name in "abc":
        log.put(name)
    assert len(log.read(0)) == 3
    assert len(log.read(1)) == 2
    unread = EventLog(keeps=False)
    unread.put("a")
    assert (unread.read(0), unread.num_events) == ([], 1)
