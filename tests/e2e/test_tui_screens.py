"""The terminal interface on a real server with the real model: every screen shows what is there."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from llmos_tui.app import LLMOSApp
from llmos_tui.client import Client
from llmos_tui.screens.keys.made import KeyMade
from llmos_tui.widgets.heat_map import HeatMap
from llmos_tui.widgets.key_table import KeyTable
from llmos_tui.widgets.line import Line
from llmos_tui.widgets.log_table import LogTable
from llmos_tui.widgets.model_table import ModelTable
from llmos_tui.widgets.pull_panel import PullPanel
from llmos_tui.widgets.skill_table import SkillTable
from llmos_tui.widgets.structure_tree import StructureTree
from textual.pilot import Pilot
from textual.widgets import Static

from llmos_server.contracts import ModelVersion

pytestmark = pytest.mark.real_model

SECONDS = 60.0


@pytest.fixture
def server(keyed_server: Any) -> Any:
    """These tests make keys."""
    return keyed_server


@asynccontextmanager
async def opened(server: Any) -> AsyncIterator[Pilot[None]]:
    token = (server.log.parent / "home/admin.token").read_text().strip()
    app = LLMOSApp(Client(server.url, lambda: token), interval=0.2)
    app.animation_level = "none"
    async with app.run_test(size=(140, 40)) as pilot:
        await until(pilot, lambda: app.connection.is_online)
        yield pilot


async def until(pilot: Pilot[None], is_so: Callable[[], Any]) -> None:
    for _ in range(int(SECONDS / 0.05)):
        await pilot.pause(0.05)
        if is_so():
            return
    raise AssertionError(f"not so after {SECONDS} s:\n{pilot.app.export_screenshot()}")


def line(pilot: Pilot[None], id: str) -> str:
    return pilot.app.screen.query_one(f"#{id}", Line).text


@pytest.mark.proof
async def test_every_screen_shows_what_is_there(server: Any, smollm2: ModelVersion) -> None:
    async with opened(server) as pilot:
        await look_at_models(pilot, smollm2)
        await look_at_the_rest(pilot)
        await make_and_revoke_a_key(pilot, server)


async def look_at_models(pilot: Pilot[None], smollm2: ModelVersion) -> None:
    await pilot.press("3")
    table = pilot.app.screen.query_one(ModelTable)
    await until(pilot, lambda: any(row.id == smollm2.name and row.state == "ready" for row in table.rows))
    table.cursor = next(number for number, row in enumerate(table.rows) if row.id == smollm2.name)
    assert table.current.quantization == "Q4_1"
    assert table.current.num_parameters == smollm2.num_parameters

    await pilot.press("enter")
    tree = pilot.app.screen.query_one(StructureTree)
    await until(pilot, lambda: tree.root.data is not None)
    assert tree.root.data.parameters == smollm2.num_parameters
    assert "heads 9" in line(pilot, "structure-facts")

    await pilot.press("escape", "a")
    heat = pilot.app.screen.query_one(HeatMap)
    await until(pilot, lambda: heat.weight is not None)
    assert "of 30 · mean of the 9 heads" in line(pilot, "attention-facts")
    assert line(pilot, "attention-value").startswith(f"{heat.cursor[0]} ")

    await pilot.press("escape", "c")
    await until(pilot, lambda: "tokens" in line(pilot, "preview-facts"))
    assert "<|im_start|>user" in pilot.app.screen.query_one("#preview", Static).render().plain
    await pilot.press("escape", "p", *smollm2.name, "enter")  # It is here: the pull ends at once.
    panel = pilot.app.screen_stack[-1].query_one(PullPanel)
    await until(pilot, lambda: panel.pulls and panel.pulls[0].end == "done")


async def look_at_the_rest(pilot: Pilot[None]) -> None:
    await pilot.press("4")
    await until(pilot, lambda: "translation" in [row.name for row in pilot.app.screen.query_one(SkillTable).rows])
    await pilot.press("6")
    await until(pilot, lambda: pilot.app.screen.query("JobTable").first().rows)
    assert pilot.app.screen.query("JobTable").first().rows[0].kind == "pull"
    await pilot.press("7")
    await until(pilot, lambda: len(pilot.app.screen.query_one(LogTable).rows) > 3)
    await pilot.press("8")
    await until(pilot, lambda: pilot.app.screen.table.rows)
    port = next(row for row in pilot.app.screen.table.rows if (row.section, row.key) == ("api", "port"))
    assert (port.source, port.origin) == ("flag", "--port")
    await pilot.press("1")
    await until(pilot, lambda: "smollm2" in pilot.app.export_screenshot())
    await pilot.press("2")
    await until(pilot, lambda: pilot.app.screen.place_name == "chat")


async def make_and_revoke_a_key(pilot: Pilot[None], server: Any) -> None:
    await pilot.press("alt+5")
    await until(pilot, lambda: pilot.app.screen.place_name == "keys")
    await pilot.press("n", *"tui-test", "enter")
    await until(pilot, lambda: isinstance(pilot.app.screen, KeyMade))
    key = str(pilot.app.screen.query_one("#made-key", Static).render())
    assert answer_to(server, key) == 200
    await pilot.press("escape")
    table = pilot.app.screen.query_one(KeyTable)
    await until(pilot, lambda: table.rows and table.rows[0].name == "tui-test")
    await pilot.press("home", "x", "y")
    await until(pilot, lambda: table.rows[0].revoked is not None or table.rows[0].name != "tui-test")
    assert answer_to(server, key) == 401


def answer_to(server: Any, key: str) -> int:
    """The status that /v1/usage answers this key with."""
    request = urllib.request.Request(f"{server.url}/v1/usage", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code
