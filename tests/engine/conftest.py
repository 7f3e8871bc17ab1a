"""Makes the plain modules here importable. engine_fakes is also the worker script of the client's tests."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
async def bench() -> Any:
    """Makes fleets; at the end none of their workers may have been ended under a request, or be left."""
    from fleet_fakes import WAIT, Bench, FakeWorker

    made: list[Bench] = []

    def make(*args: Any, **options: Any) -> Bench:
        made.append(Bench(*args, **options))
        return made[-1]

    yield make
    for each in made:
        for worker in each.workers:
            worker.may_end.set()
        await asyncio.wait_for(each.fleet.stop(), WAIT)
        assert not any(worker.was_ended_under_requests for worker in each.workers)
    assert FakeWorker.alive == []
