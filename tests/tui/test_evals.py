"""Evals and their runs, side by side."""

from __future__ import annotations

import pytest
import tui_tune_data as data
from llmos_tui.screens.tune.evals_view import EvalsView
from llmos_tui.widgets.comparison import difference_in_words
from llmos_tui.wire.evals import Interval
from tui_fake_server import FakeServer, Refusal
from tui_snapshots import SIZES, check_snapshot

COMPARE = "/v1/evals/eval_1/compare"


@pytest.fixture(autouse=True)
def evals(server: FakeServer) -> None:
    data.tell(server)


async def open_evals(pilot, sees, wait_for) -> None:
    await pilot.press("e")
    await wait_for(pilot, lambda: "12 of 50 (24 %)" in sees(pilot))
    await pilot.press("tab")


@pytest.mark.parametrize("size", SIZES)
async def test_as_it_looks(open_app, server: FakeServer, sees, wait_for, size: tuple[int, int]) -> None:
    async with open_app(size=size, place="tune") as pilot:
        await open_evals(pilot, sees, wait_for)
        await pilot.press("down", "space", "up", "space")
        await wait_for(pilot, lambda: "+0.580 [+0.480, +0.680] better" in sees(pilot))
        assert "+0.010 [-0.090, +0.110] no clear difference" in sees(pilot)
        assert server.requests("GET", COMPARE)[-1].query == {"runs": "evalrun_1,evalrun_2"}  # The first is the base.
        await check_snapshot(pilot, "evals")


async def test_runs_that_are_not_done_are_not_compared(open_app, server: FakeServer, sees, wait_for) -> None:
    async with open_app(place="tune") as pilot:
        await open_evals(pilot, sees, wait_for)
        await pilot.press("space", "down", "down", "space")
        await pilot.pause()
        assert server.requests("GET", COMPARE) == []


async def test_what_can_not_be_compared_is_told(open_app, server: FakeServer, sees, wait_for) -> None:
    server.on("GET", COMPARE, lambda asked: Refusal(400, "The runs are of different items."))
    async with open_app(place="tune") as pilot:
        await open_evals(pilot, sees, wait_for)
        await pilot.press("space", "down", "space")
        await wait_for(pilot, lambda: "The runs are of different items." in sees(pilot))


async def test_another_model_is_measured_with_the_same_items(open_app, server: FakeServer, sees, wait_for) -> None:
    server.on("POST", "/v1/evals/eval_1/runs", data.eval_run("evalrun_4", "other", 0, status="queued"))
    async with open_app(place="tune") as pilot:
        await open_evals(pilot, sees, wait_for)
        await pilot.press("n", *"other", "enter")
        await wait_for(pilot, lambda: "other is being measured." in sees(pilot))
    [asked] = server.requests("POST", "/v1/evals/eval_1/runs")
    assert asked.body == {"name": "other", "data_source": {**data.EVAL_RUNS[0]["data_source"], "model": "other"}}


async def test_each_eval_has_its_own_runs_and_esc_leads_back(open_app, sees, wait_for) -> None:
    async with open_app(place="tune") as pilot:
        await pilot.press("e")
        await wait_for(pilot, lambda: "12 of 50" in sees(pilot))
        await pilot.press("down")
        await wait_for(pilot, lambda: "It has no runs." in sees(pilot))
        await pilot.press("escape")
        await wait_for(pilot, lambda: not pilot.app.screen.query_one(EvalsView).display)


def test_a_difference_is_told_only_where_there_is_no_doubt() -> None:
    assert difference_in_words(Interval(mean=-0.2, low=-0.3, high=-0.1)) == "-0.200 [-0.300, -0.100] worse"
    assert "no clear difference" in difference_in_words(Interval(mean=0.0, low=-0.1, high=0.1))
