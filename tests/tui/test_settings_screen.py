"""The screen of settings."""

from __future__ import annotations

import pytest
from llmos_tui.screens.record import RecordScreen
from llmos_tui.screens.settings import name
from tui_fake_server import FakeServer
from tui_snapshots import SIZES, check_snapshot

from llmos_server.api.schemas.admin_settings import SettingList
from llmos_server.settings_rows import SettingRow

ROWS = [
    SettingRow(section="", key="home", value="/srv/llmos", source="environment", origin="LLMOS_HOME", doc="State."),
    SettingRow(section="api", key="port", value=9000, source="flag", origin="--port", doc="Where it listens."),
    SettingRow(section="api", key="cors", value=[], source="default", origin="", doc="Sites that browsers may call."),
    SettingRow(
        section="models",
        key="pinned",
        value=["smollm2:135m"],
        source="file",
        origin="/srv/llmos/config.toml",
        doc="Never evicted.",
    ),
    SettingRow(
        section="mcp",
        key="servers",
        value={"files": {"headers": {"authorization": "***"}}},
        source="file",
        origin="/srv/llmos/config.toml",
        doc="",
    ),
]


@pytest.fixture(autouse=True)
def settings(server: FakeServer) -> None:
    server.on("GET", "/admin/v1/settings", SettingList(data=ROWS))


def shown(pilot) -> list[str]:
    return [name(row) for row in pilot.app.screen.table.rows]


@pytest.mark.parametrize("size", SIZES)
async def test_as_it_looks(open_app, size) -> None:
    async with open_app(size=size, place="settings") as pilot:
        await check_snapshot(pilot, "settings")


async def test_they_are_filtered_and_shown_whole(open_app) -> None:
    async with open_app(size=(80, 24), place="settings") as pilot:
        assert shown(pilot) == ["home", "api.port", "api.cors", "models.pinned", "mcp.servers"]
        await pilot.press("d")
        assert shown(pilot) == ["home", "api.port", "models.pinned", "mcp.servers"]
        await pilot.press("slash", *"CONFIG.T", "enter", "end", "enter")
        assert shown_below(pilot) == ["models.pinned", "mcp.servers"]
        assert isinstance(pilot.app.screen, RecordScreen)
        told = pilot.app.export_screenshot().replace("&#160;", " ").replace("&quot;", '"')
        assert '"authorization": "***"' in told
        await pilot.press("escape", "slash", "x", "escape", "d")
        assert shown(pilot) == []


def shown_below(pilot) -> list[str]:
    return [name(row) for row in pilot.app.screen_stack[1].table.rows]


async def test_they_are_fetched_anew_when_they_are_shown_again(open_app, server: FakeServer, wait_for) -> None:
    async with open_app(place="settings") as pilot:
        server.on("GET", "/admin/v1/settings", SettingList(data=ROWS[:1]))
        await pilot.press("1")
        await pilot.press("8")
        await wait_for(pilot, lambda: shown(pilot) == ["home"])
