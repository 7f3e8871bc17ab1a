"""Memory of a fleet is lent to jobs: pools of pages become smaller, and larger again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from fleet_fakes import SIZE, WAIT, Bench, until

from llmos_server.errors import EngineBusy


async def loaded(b: Bench, *names: str) -> None:
    for name in names:
        with b.engine(name).hold():
            await b.engine(name).wait_ready(WAIT)


async def test_pools_give_back_what_a_job_needs_and_get_it_again(bench: Callable[..., Bench]) -> None:
    b = bench(budget=2)
    await loaded(b, "a", "b")
    first, second = b.workers
    second.may_resize.clear()
    asked = asyncio.create_task(b.fleet.lending.borrow(SIZE * 3 // 4))
    await until(lambda: first.num_pages)
    assert (first.num_pages, second.num_pages) == ([4], [])  # Half of each could go.
    assert not asked.done()
    second.may_resize.set()
    loan = await asked
    status = b.fleet.status()
    assert (status.lent_bytes, status.used_bytes) == (SIZE * 3 // 4, SIZE * 5 // 4)
    assert {model.num_bytes for model in status.models} == {SIZE // 2, SIZE * 3 // 4}
    b.fleet.lending.give_back(loan)
    await until(lambda: (first.num_pages, second.num_pages) == ([4, 8], [6, 8]))
    assert b.fleet.status().used_bytes == 2 * SIZE


async def test_what_is_free_beside_the_budget_is_no_loan(bench: Callable[..., Bench]) -> None:
    b = bench(budget=2, available=lambda: 4 * SIZE)
    await loaded(b, "a", "b")
    loan = await b.fleet.lending.borrow(SIZE)  # Half a gibibyte stays for the rest of the machine.
    assert [worker.num_pages for worker in b.workers] == [[], []]
    assert (loan.num_bytes, b.fleet.status().lent_bytes) == (0, 0)
    more = await b.fleet.lending.borrow(SIZE)
    assert b.workers[0].num_pages == [4]
    assert more.num_bytes == SIZE // 2
    b.fleet.lending.give_back(loan)
    b.fleet.lending.give_back(more)


async def test_a_model_that_does_not_fit_beside_a_loan_is_told_when_to_come_again(bench: Callable[..., Bench]) -> None:
    b = bench(budget=2)
    b.sizes["large"] = 2
    loan = await b.fleet.lending.borrow(SIZE)
    engine = b.engine("large")
    with engine.hold(), pytest.raises(EngineBusy, match="jobs have 1073741824 of the budget") as told:
        await engine.wait_ready(WAIT)
    assert told.value.retry_after == 60
    b.fleet.lending.give_back(loan)
    await loaded(b, "large")


async def test_a_job_that_gives_up_waits_no_more(bench: Callable[..., Bench]) -> None:
    b = bench(budget=2)
    engine = b.engine("a")
    with engine.hold():
        await engine.wait_ready(WAIT)
        asked = asyncio.create_task(b.fleet.lending.borrow(2 * SIZE))
        await asyncio.sleep(0.05)
        asked.cancel()
        await asyncio.wait({asked})
        assert b.workers[0].num_pages == []  # It would not have been enough.
    await loaded(b, "b")
    assert [worker.state for worker in b.workers] == ["ready", "ready"]
