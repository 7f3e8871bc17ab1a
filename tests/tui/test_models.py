"""The screen of models: what is here, and what can be done with it."""

from __future__ import annotations

from typing import Any

import pytest
import tui_data
import tui_models_data as data
from llmos_tui.screens.dialog import ConfirmScreen
from llmos_tui.screens.models.pull_dialog import PullDialog
from llmos_tui.widgets.line import Line
from llmos_tui.widgets.model_table import ModelTable
from llmos_tui.widgets.pull_panel import Pull, PullPanel
from llmos_tui.wire.models import PullEvent
from tui_fake_server import FakeServer, Refusal
from tui_snapshots import SIZES, check_snapshot


@pytest.fixture(autouse=True)
def models(server: FakeServer) -> list[dict[str, Any]]:
    """What the server has; tests change it."""
    rows = [data.model(), data.encoder(), data.broken()]
    server.on("GET", "/admin/v1/models", lambda asked: data.models(*rows))
    for verb in ("load", "unload", "pin", "unpin"):
        server.on("POST", f"/admin/v1/models/{verb}", lambda asked: rows[0])
    return rows


def drawn(pilot) -> str:
    table = pilot.app.screen.query_one(ModelTable)
    lines = (table.render_line(y) for y in range(table.size.height))
    return "\n".join("".join(segment.text for segment in line).rstrip() for line in lines)


def bodies(server: FakeServer, path: str) -> list[Any]:
    return [asked.body for asked in server.requests("POST", f"/admin/v1/models/{path}")]


def toasts(pilot) -> str:
    return "\n".join(str(notification.message) for notification in pilot.app._notifications)


@pytest.mark.parametrize("size", SIZES)
async def test_as_it_looks(open_app, size) -> None:
    async with open_app(size=size, place="models") as pilot:
        await check_snapshot(pilot, "models")


async def test_a_row_tells_size_quantisation_context_and_state(open_app) -> None:
    async with open_app(size=(140, 40), place="models") as pilot:
        first, second, third = drawn(pilot).splitlines()[1:4]
        assert first.split()[:9] == ["smollm2:135m", "DP", "ready", "98", "MB", "135M", "Q4_1", "8192", "412"]
        assert "F32→int8" in second
        assert "unloaded" in second
        assert "failed" in third
        await pilot.press("end")
        assert "ends in the middle" in pilot.app.screen.query_one("#model-facts", Line).text


async def test_load_unload_and_pins(open_app, server: FakeServer, wait_for) -> None:
    async with open_app(place="models") as pilot:
        await pilot.press("down", "l")
        await wait_for(pilot, lambda: "is loaded" in toasts(pilot))
        assert bodies(server, "load") == [{"model": "all-minilm-l6-v2"}]
        await pilot.press("u")  # It isn't in memory: there is nothing to unload.
        await pilot.press("i")
        await wait_for(pilot, lambda: bodies(server, "pin") == [{"model": "all-minilm-l6-v2"}])
        await pilot.press("up", "u", "i")
        await wait_for(pilot, lambda: bodies(server, "unpin") == [{"model": "smollm2:135m"}])
        assert bodies(server, "unload") == [{"model": "smollm2:135m"}]


async def test_a_refusal_is_told_in_the_servers_words(open_app, server: FakeServer, wait_for) -> None:
    server.on("POST", "/admin/v1/models/unpin", Refusal(400, "models.pinned names it.", "pinned_by_settings"))
    async with open_app(place="models") as pilot:
        await pilot.press("i")
        await wait_for(pilot, lambda: "models.pinned names it." in toasts(pilot))


async def test_what_changes_at_the_server_is_seen(open_app, server: FakeServer, models, wait_for) -> None:
    async with open_app(place="models") as pilot:
        count = len(server.requests("GET", "/admin/v1/models"))
        live, other = tui_data.decoder(), tui_data.encoder()
        server.feed("/admin/v1/live").send("overview", tui_data.overview(models=[{**live, "num_running": 41}, other]))
        await wait_for(pilot, lambda: "41" in drawn(pilot).splitlines()[1])
        assert len(server.requests("GET", "/admin/v1/models")) == count  # That is no reason to ask for the list.
        models[1] = data.encoder(state="loading")
        live = {**live, "num_running": 41}
        server.feed("/admin/v1/live").send("overview", tui_data.overview(models=[live, {**other, "state": "loading"}]))
        await wait_for(pilot, lambda: "loading" in drawn(pilot))


async def test_a_model_is_removed_only_after_a_question(open_app, server: FakeServer, wait_for) -> None:
    server.on("DELETE", "/admin/v1/models/{}", {"id": "x", "deleted": True})
    async with open_app(place="models") as pilot:
        await pilot.press("end", "x")
        assert isinstance(pilot.app.screen, ConfirmScreen)
        await pilot.press("n")
        await pilot.press("x", "y")
        await wait_for(pilot, lambda: "was removed" in toasts(pilot))
        removed = [asked.parts for asked in server.asked if asked.method == "DELETE"]
        assert removed == [("hf:org/broken",)]


async def test_a_pull_shows_how_far_it_is_and_what_came_of_it(open_app, server: FakeServer, wait_for) -> None:
    stream = server.stream("POST", "/admin/v1/models/pull", *data.pull_events("smollm2:360m"))
    async with open_app(size=(80, 24), place="models") as pilot:
        panel = pilot.app.screen.query_one(PullPanel)
        assert panel.size.height == 0
        await pilot.press("p")
        assert isinstance(pilot.app.screen, PullDialog)
        await pilot.press(*"smollm2:360m", "enter")
        await wait_for(pilot, lambda: panel.pulls and panel.pulls[0].label)
        assert server.requests("POST", "/admin/v1/models/pull")[0].body == {"model": "smollm2:360m"}
        line = "".join(segment.text for segment in panel.render_line(0))
        assert line.startswith("smollm2:360m  ████              model.gguf: 25 MB of 98 MB, 25 %")
        stream.send(*data.pulled("smollm2:360m"))
        await wait_for(pilot, lambda: panel.pulls[0].end == "done")
        assert "is here: 98 MB" in toasts(pilot)


async def test_a_pull_that_fails_says_why_and_makes_room_for_the_next(open_app, server: FakeServer, wait_for) -> None:
    error = {"error": {"message": "No such model.", "type": "invalid_request_error", "code": "model_not_found"}}
    server.stream("POST", "/admin/v1/models/pull", ("", error))
    async with open_app(place="models") as pilot:
        panel = pilot.app.screen.query_one(PullPanel)
        for name in ("a", "b"):
            await pilot.press("p", name, "enter")
            await wait_for(pilot, lambda: panel.pulls and panel.pulls[-1].end == "failed")
            assert [(pull.name, pull.text) for pull in panel.pulls] == [(name, "No such model.")]


async def test_more_pulls_than_lines_are_counted(open_app, wait_for) -> None:
    async with open_app(place="models") as pilot:
        panel = pilot.app.screen.query_one(PullPanel)
        for number in range(8):
            panel.begin(f"m{number}")
        await wait_for(pilot, lambda: panel.size.height == 6)
        lines = ["".join(segment.text for segment in panel.render_line(y)).rstrip() for y in range(6)]
        assert lines[0] == "3 others: screen 6 has all of them"
        assert lines[1:] == [f"m{number}  asked for" for number in range(3, 8)]


async def test_a_pull_goes_on_while_another_screen_is_shown(open_app, server: FakeServer, wait_for) -> None:
    stream = server.stream("POST", "/admin/v1/models/pull", *data.pull_events("m"))
    async with open_app(place="models") as pilot:
        panel = pilot.app.screen.query_one(PullPanel)
        await pilot.press("p", "m", "enter")
        await wait_for(pilot, lambda: panel.pulls and panel.pulls[0].label)
        await pilot.press("1")
        stream.send(*data.pulled("m"))
        await wait_for(pilot, lambda: panel.pulls[0].end == "done")


def test_a_transfer_of_unknown_size_tells_what_came_and_how_fast() -> None:
    now = 10.0
    pull = Pull("m", clock=lambda: now)
    pull.take(PullEvent(label="file", done=1_000_000))
    assert pull.words() == "file: 1.0 MB"
    now = 12.0
    pull.take(PullEvent(label="file", done=5_000_000))
    assert pull.words() == "file: 5.0 MB, 2.0 MB/s"
    pull.take(PullEvent(label="file", done=5_000_000, total=15_000_000))
    assert pull.words() == "file: 5.0 MB of 15 MB, 33 %, 2.0 MB/s, 5s left"
    pull.take(PullEvent(text="checking"))
    assert pull.words() == "checking"
