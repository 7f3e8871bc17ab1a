from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from llmos_server.engine.connection import Message
from llmos_server.engine.life_signs import LifeSigns, Limits
from llmos_server.engine.messages import Heartbeat, Ready, RequestFailed

READY: Message = Ready(epoch=1, info=None)


def signs(*, silence: float = 30.0, step: float = 30.0, load: float = 30.0) -> LifeSigns:
    return LifeSigns(Limits(silence=silence, step=step, load=load))


def beat(step_seconds: float = 0.0) -> Heartbeat:
    return Heartbeat(epoch=1, step_seconds=step_seconds)


async def fault(of: LifeSigns, report: Callable[[], Message] | None = None) -> str:
    """report: what arrives all the while."""
    judging = asyncio.create_task(of.wait_for_fault())
    async with asyncio.timeout(20):
        while not judging.done():
            if report is not None:
                of.note(report())
            await asyncio.sleep(0.002)
    return judging.result()


async def test_a_load_has_its_own_limit_whether_it_beats_or_not() -> None:
    assert await fault(signs(load=0.05)) == "its load took longer than 0.05 s (engine.load_timeout_seconds)"
    assert "its load took longer" in await fault(signs(load=0.05), beat)


async def test_a_loaded_worker_has_to_beat() -> None:
    loaded = signs(silence=0.05, load=0.0)
    judging = asyncio.create_task(loaded.wait_for_fault())
    await asyncio.sleep(0.2)
    assert not judging.done()  # It loads, and that has no limit here.
    loaded.note(READY)
    assert await judging == "no heartbeat for 0.05 s"


async def test_a_step_that_is_over_its_limit_is_told_with_its_length() -> None:
    hung = signs(silence=0.05, step=7.0)
    hung.note(READY)
    assert await fault(hung, lambda: beat(8.0)) == "it hung for 8 s in one step (engine.step_timeout_seconds)"


@pytest.mark.parametrize("step", [0.0, 7.0])
async def test_steps_within_their_limit_and_without_one_are_no_fault(step: float) -> None:
    loaded = signs(silence=0.02, step=step)
    loaded.note(READY)
    judging = asyncio.create_task(loaded.wait_for_fault())
    for _ in range(50):
        loaded.note(beat(7.0 if step else 700.0))
        await asyncio.sleep(0.002)
    loaded.note(beat(7.1))
    loaded.note(RequestFailed(epoch=1, request_id="a", message="refused"))  # So the step is over.
    assert not judging.done()
    assert await judging == "no heartbeat for 0.02 s"
