"""Threads with deadlines, and the switch behind them."""

from __future__ import annotations

import asyncio
import threading

import pytest
import structlog

from llmos_server.plugins.failures import Failures, Switch
from llmos_server.plugins.threads import CallEnded, Threads


async def test_a_call_gives_what_the_code_gives():
    threads = Threads("t", 2)
    assert await threads.call(lambda: 3, 60) == 3
    with pytest.raises(KeyError):
        await threads.call(lambda: {}["x"], 60)
    with pytest.raises(CallEnded, match="SystemExit"):
        await threads.call(lambda: exit(3), 60)


async def test_a_call_that_blocks_keeps_its_thread_and_no_other():
    threads = Threads("t", 2)
    gate, began = threading.Event(), threading.Semaphore(0)

    def block() -> None:
        began.release()
        gate.wait()

    first = asyncio.create_task(threads.call(block, 60))
    await asyncio.to_thread(began.acquire)
    assert await threads.call(lambda: 3, 60) == 3
    second = asyncio.create_task(threads.call(block, 60))
    await asyncio.to_thread(began.acquire)
    ran = threading.Event()
    with pytest.raises(TimeoutError):  # No thread is left.
        await threads.call(ran.set, 0.01)
    gate.set()
    await asyncio.gather(first, second)
    assert await threads.call(lambda: 4, 60) == 4
    assert not ran.is_set(), "whoever gave up is not called later"


async def test_a_call_that_is_given_up_goes_on_alone():
    threads = Threads("t", 1)
    gate = threading.Event()
    with pytest.raises(TimeoutError):
        await threads.call(gate.wait, 0.01)
    gate.set()
    assert await threads.call(lambda: 5, 60) == 5


async def test_many_calls_share_few_threads():
    threads = Threads("t", 3)
    seen: set[int] = set()

    def note() -> int:
        seen.add(threading.get_ident())
        return 1

    assert sum(await asyncio.gather(*(threads.call(note, 60) for _ in range(50)))) == 50
    assert len(seen) <= 3


def test_the_switch_goes_off_rests_and_tries_once():
    now = [0.0]
    switch = Switch(2, 30.0, lambda: now[0])
    switch.failed()
    switch.succeeded()
    switch.failed()
    assert switch.admits()
    switch.failed()
    assert not switch.is_on
    assert not switch.admits()
    assert switch.retry_after == 30.0
    now[0] = 30.0
    assert switch.admits()
    assert not switch.admits(), "one trial at a time"
    switch.succeeded()
    assert switch.is_on


def test_failures_name_the_culprit_and_not_the_text(capsys):
    structlog.reset_defaults()  # Other tests may have said where logs go.
    failures = Failures(3, 1.0)
    try:
        raise ValueError("my secret prompt")
    except ValueError as error:
        failures.note("guard", "register_request_filters", "g", "raised", error)
    told = capsys.readouterr().out.splitlines()[0]
    assert "guard" in told
    assert "ValueError" in told
    assert "test_threads.py:" in told
    assert "secret" not in told
    assert failures.counts["guard", "register_request_filters", "raised"] == 1
