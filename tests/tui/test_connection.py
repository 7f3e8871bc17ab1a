"""Servers that are not there, come back, or don't know the key."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tui_data
from llmos_tui.connection import State
from llmos_tui.screens.start_server import StartServerScreen
from llmos_tui.starting import LocalServer
from llmos_tui.widgets.connection_banner import ConnectionBanner
from tui_fake_server import FakeServer
from tui_snapshots import check_snapshot


def banner(pilot) -> str:
    """What it says; empty while it isn't shown."""
    widget = pilot.app.screen.query_one(ConnectionBanner)
    return widget.render().plain if widget.display else ""


async def test_a_lost_connection_is_told_and_found_again(open_app, server: FakeServer, wait_for) -> None:
    async with open_app() as pilot:
        assert pilot.app.connection.is_online
        assert banner(pilot) == ""
        server.go_down()
        pilot.app.watch_server.doubt()
        await wait_for(pilot, lambda: pilot.app.connection.state is State.LOST)
        assert "No server answers at http://llmos.test" in banner(pilot)
        assert pilot.app.screen.has_class("-offline")
        server.is_up = True
        await wait_for(pilot, lambda: pilot.app.connection.is_online)
        assert banner(pilot) == ""
        assert not pilot.app.screen.has_class("-offline")


async def test_r_looks_at_once(open_app, server: FakeServer, wait_for, monkeypatch) -> None:
    monkeypatch.setattr("llmos_tui.connection.FIRST_PAUSE_SECONDS", 500.0)
    server.is_up = False
    async with open_app() as pilot:
        await wait_for(pilot, lambda: pilot.app.connection.state is State.LOST)
        server.is_up = True
        await pilot.press("r")
        await wait_for(pilot, lambda: pilot.app.connection.is_online)
        await pilot.pause()
        assert "reconnect" not in {active.binding.action for active in pilot.app.screen.active_bindings.values()}


async def test_a_wrong_key_is_told_with_what_to_do(open_app) -> None:
    async with open_app(key="sk-wrong", size=(80, 24)) as pilot:
        assert pilot.app.connection.state is State.UNAUTHORISED
        assert "Invalid API key" in banner(pilot)
        assert "--key" in banner(pilot)
        await check_snapshot(pilot, "unauthorised")


async def test_a_key_that_is_given_later_is_found(open_app, server: FakeServer, wait_for) -> None:
    """As a server that is started anew makes a new token."""
    server.key = "sk-other"
    async with open_app() as pilot:
        assert pilot.app.connection.state is State.UNAUTHORISED
        server.key = "sk-admin"
        await wait_for(pilot, lambda: pilot.app.connection.is_online)


async def test_a_server_without_this_api_is_told(open_app, server: FakeServer) -> None:
    server.has_admin_api = False
    async with open_app() as pilot:
        assert pilot.app.connection.state is State.UNUSABLE
        assert "has no /admin/v1" in banner(pilot)


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Callable[[str], LocalServer]]:
    """Starts Python with this code in a server's place."""
    made: list[LocalServer] = []

    def make(code: str) -> LocalServer:
        made.append(LocalServer([sys.executable, "-c", code], tmp_path / "logs" / "serve.log", patience_seconds=20))
        return made[-1]

    yield make
    for local in made:
        if local.process is not None:
            local.process.kill()
            local.process.wait()


async def test_where_none_runs_one_is_started(open_app, server: FakeServer, tmp_path: Path, wait_for, starter) -> None:
    server.is_up = False
    mark = tmp_path / "started"
    code = f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(60)"
    async with open_app(local_server=starter(code), size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, StartServerScreen))
        await pilot.press("s")
        await wait_for(pilot, mark.exists)
        server.is_up = True
        await wait_for(pilot, lambda: getattr(pilot.app.screen, "place_name", "") == "dashboard")
        assert pilot.app.connection.is_online


async def test_one_that_can_not_start_says_why(open_app, server: FakeServer, tmp_path: Path, wait_for, starter) -> None:
    server.is_up = False
    local = starter("import sys; sys.exit('port 8000 is taken')")
    async with open_app(local_server=local) as pilot:
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, StartServerScreen))
        await pilot.click("#start")
        text = pilot.app.screen.query_one("#start-text")
        await wait_for(pilot, lambda: "could not be started" in text.render().plain)
        assert "port 8000 is taken" in text.render().plain
        assert (tmp_path / "logs" / "serve.log").stat().st_mode & 0o077 == 0
        await pilot.press("escape")
        assert pilot.app.screen.place_name == "dashboard"


async def test_a_program_that_is_not_there_is_told(open_app, server: FakeServer, tmp_path: Path, wait_for) -> None:
    server.is_up = False
    async with open_app(local_server=LocalServer(["/no/such/llmos"], tmp_path / "log")) as pilot:
        await wait_for(pilot, lambda: isinstance(pilot.app.screen, StartServerScreen))
        await pilot.press("s")
        text = pilot.app.screen.query_one("#start-text")
        await wait_for(pilot, lambda: "can't be started" in text.render().plain)


async def test_it_is_offered_once_and_not_when_a_server_was_lost_that_was_there(
    open_app, server: FakeServer, wait_for, starter
) -> None:
    async with open_app(local_server=starter("pass")) as pilot:
        server.go_down()
        pilot.app.watch_server.doubt()
        await wait_for(pilot, lambda: pilot.app.connection.state is State.LOST)
        assert pilot.app.screen.place_name == "dashboard"


def test_the_time_of_the_data_is_the_one_it_says() -> None:
    assert tui_data.overview()["time"] == tui_data.NOW
