"""Screens of plugins: docs/plugins.md's own example, and ones that fail in every way."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llmos_tui.plugin_screens import PluginOffer
from llmos_tui.widgets.key_bar import KeyBar
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Button, Static
from tui_fake_server import FakeServer

from llmos_server.commands.tui import plugin_screens

FILE = re.compile(r"^`(screens/\w+\.py)`:\n\n```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def offer(create: Callable[[], Any], **more: Any) -> PluginOffer:
    return PluginOffer(plugin="theirs", name="Theirs", create=create, **more)


async def test_the_example_of_the_docs_works(
    open_app, server: FakeServer, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_for, sees
) -> None:
    files = FILE.findall((project / "docs/plugins.md").read_text(encoding="utf-8"))
    assert [name for name, _ in files] == ["screens/plugin.py", "screens/view.py"]
    for name, text in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("LLMOS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLMOS_PLUGINS__FOLDERS", str(tmp_path / "screens"))
    asked: list[int] = []
    server.on("GET", "/v1/models", lambda request: asked.append(1) or {"data": [{"id": "smollm2:135m"}]})
    offers = plugin_screens(None)
    assert [(each.plugin, each.name) for each in offers] == [("screens", "Names")]
    async with open_app(plugin_screens=offers, size=(80, 24)) as pilot:
        await pilot.press("9")
        await wait_for(pilot, lambda: "smollm2:135m" in sees(pilot))
        assert "Read again" in sees(pilot)  # Its key is in the footer.
        await pilot.press("u")
        await wait_for(pilot, lambda: len(asked) == 2)
        await pilot.press("question_mark")
        assert "Read again" in sees(pilot)


class Composes(Widget):
    def compose(self) -> ComposeResult:
        yield Static("before")
        raise RuntimeError("at compose")


class Mounts(Static):
    def on_mount(self) -> None:
        raise RuntimeError("at mount")


class Nested(Vertical):
    def compose(self) -> ComposeResult:
        yield Static("fine")
        yield Mounts()


class Draws(Widget):
    def render(self) -> str:
        raise RuntimeError("at render")


class Waits(Static):
    async def on_mount(self) -> None:
        self.run_worker(self.work())

    async def work(self) -> None:
        raise RuntimeError("in a worker")


class Styled(Static):
    DEFAULT_CSS = "Styled { color: nonsense nonsense; }"


def creates() -> Widget:
    raise RuntimeError("at create")


@pytest.mark.parametrize(
    ("create", "words"),
    [
        (creates, "at create"),
        (lambda: "text", "has to return a Textual widget"),
        (Composes, "at compose"),
        (Mounts, "at mount"),
        (Nested, "at mount"),
        (Draws, "at render"),
        (Waits, "in a worker"),
    ],
)
async def test_one_that_fails_names_its_plugin_and_ends_nothing(open_app, wait_for, sees, create, words: str) -> None:
    async with open_app(plugin_screens=[offer(create)]) as pilot:
        await pilot.press("9")
        await wait_for(pilot, lambda: words in sees(pilot))
        assert "The screen Theirs of the plugin theirs failed" in sees(pilot)
        await pilot.press("1")
        assert "Requests in flight" in sees(pilot)


class Pressed(Message):
    pass


class Later(Vertical):
    def compose(self) -> ComposeResult:
        yield Button("Go")

    def on_button_pressed(self) -> None:
        raise RuntimeError("at a press")


async def test_one_that_fails_later_is_taken_off(open_app, wait_for, sees) -> None:
    async with open_app(plugin_screens=[offer(Later)]) as pilot:
        await pilot.press("9")
        await pilot.pause()
        await pilot.click("Button")
        await wait_for(pilot, lambda: "at a press" in sees(pilot))
        assert not pilot.app.screen.query(Later)
        await pilot.press("8")
        assert pilot.app.screen.place_name == "settings"


async def test_an_action_that_fails_is_shown(open_app, wait_for, sees) -> None:
    class Acts(Static):
        def action_boom(self) -> None:
            raise RuntimeError("in an action")

    async with open_app(plugin_screens=[offer(Acts, bindings={"u": "boom: Make it boom"})]) as pilot:
        await pilot.press("9")
        await wait_for(pilot, lambda: "Make it boom" in sees(pilot))
        await pilot.press("u")
        await wait_for(pilot, lambda: "in an action" in sees(pilot))


async def test_words_of_plugins_are_no_markup(open_app, sees) -> None:
    """A bracket in them would end the program."""
    words = "look: See [it] [/x]"
    theirs = PluginOffer(plugin="a", name="[/b]", create=lambda: Static("hello"), bindings={"u": words})
    async with open_app(plugin_screens=[theirs]) as pilot:
        await pilot.press("9")
        await pilot.pause()
        assert "9 [/b]" in sees(pilot)
        assert "u See [it] [/x]" in sees(pilot)
        bar = pilot.app.screen.query_one(KeyBar)
        place = next(place for place in bar.places if place.part.action == "look")
        await pilot.hover(bar, offset=place.region.offset)
        assert str(bar.tooltip) == "See [it] [/x] (a)"
        await pilot.press("question_mark")
        assert "See [it] [/x]" in sees(pilot)
        await pilot.press("escape", "ctrl+p")
        await pilot.pause(0.5)
        await pilot.press("escape")


async def test_several_are_gone_through_and_are_in_the_palette(open_app) -> None:
    offers = [PluginOffer(plugin="a", name=name, create=lambda: Static("hello")) for name in ("One", "Two")]
    async with open_app(plugin_screens=offers) as pilot:
        await pilot.press("9")
        assert pilot.app.screen.place_name == "plugin-a-One"
        await pilot.press("9")
        assert pilot.app.screen.place_name == "plugin-a-Two"
        await pilot.press("9")
        assert pilot.app.screen.place_name == "plugin-a-One"
        titles = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        assert {"One", "Two"} <= titles


async def test_a_failure_of_our_own_still_ends_the_program(open_app) -> None:
    def fail() -> None:
        raise RuntimeError("our own")

    async def run() -> None:
        async with open_app() as pilot:
            pilot.app.screen.call_later(fail)
            await pilot.pause()

    with pytest.raises(RuntimeError, match="our own"):
        await run()
