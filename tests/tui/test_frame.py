"""What all screens share: keys, tabs, help, palette, themes."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmos_tui.app import LLMOSApp
from llmos_tui.bindings import keys_of_class
from llmos_tui.preferences import load_preferences
from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.catalogue import PLACES
from llmos_tui.screens.help import HelpScreen
from llmos_tui.themes import THEMES
from llmos_tui.widgets.connection_banner import ConnectionBanner
from llmos_tui.widgets.key_bar import KeyBar
from textual.binding import Binding
from textual.dom import DOMNode
from tui_keys import classes_with_keys
from tui_snapshots import SIZES, check_snapshot

NAMES = [place.name for place in PLACES]


@pytest.mark.parametrize("kind", classes_with_keys(), ids=lambda kind: kind.__name__)
def test_every_binding_says_what_it_does(kind: type[DOMNode]) -> None:
    for binding in kind.__dict__["BINDINGS"]:
        assert isinstance(binding, Binding)
        assert binding.id, binding
        assert binding.tooltip, binding
        assert binding.description, binding
        assert binding.show or binding.action.startswith("move_"), binding  # What every list does by the same keys.


def test_ids_of_bindings_are_unique() -> None:
    ids = [key.id for kind in classes_with_keys() for key in keys_of_class(kind)[: len(kind.__dict__["BINDINGS"])]]
    assert len(ids) == len(set(ids))


def test_no_screen_takes_a_key_that_holds_everywhere() -> None:
    taken = {key for binding in keys_of_class(LLMOSApp) for key in binding.keys.split(",")}
    for kind in classes_with_keys():
        if issubclass(kind, LLMOSScreen):
            own = {key for binding in keys_of_class(kind) for key in binding.keys.split(",")}
            assert own & taken == set(), kind


@pytest.mark.parametrize("kind", classes_with_keys(), ids=lambda kind: kind.__name__)
def test_every_action_has_a_key(kind: type[DOMNode]) -> None:
    """And each key an action that exists."""
    actions = {name.removeprefix("action_") for name in vars(kind) if name.startswith("action_")}
    bound = {key.action.partition("(")[0] for key in keys_of_class(kind)}
    assert actions - bound - {"choose_theme", "help_quit"} == set()
    assert [name for name in bound if not hasattr(kind, f"action_{name}")] == []


@pytest.mark.parametrize("size", SIZES)
async def test_every_key_of_a_screen_is_in_the_footer(open_app, wait_for, size: tuple[int, int]) -> None:
    """Drawn inside the terminal, not beyond its edge, with a tooltip."""
    async with open_app(size=size) as pilot:
        for name in NAMES:
            pilot.app.action_show_place(name)
            await wait_for(pilot, lambda: any(bar.places for bar in pilot.app.screen.query(KeyBar)))
            for _ in range(2):
                await pilot.pause()
            screen = pilot.app.screen
            places = screen.query_one(KeyBar).places
            active = [active.binding for active in screen.active_bindings.values() if active.binding.id]
            shown = {binding.action for binding in active if binding.show}
            assert {place.part.action for place in places} - {""} == shown, name
            inside = screen.query_one(KeyBar).size.region
            for place in places:
                assert inside.contains_region(place.region), name
                assert place.part.tooltip or not place.part.key, name


async def test_a_key_in_the_footer_can_be_clicked_and_has_a_tooltip(open_app) -> None:
    async with open_app(size=(80, 24)) as pilot:
        bar = pilot.app.screen.query_one(KeyBar)
        place = next(place for place in bar.places if place.part.action == "next_theme")
        await pilot.hover(bar, offset=place.region.offset)
        assert str(bar.tooltip) == "Dark, light, high contrast; remembered"
        await pilot.click(bar, offset=place.region.offset)
        await pilot.pause()
        assert pilot.app.theme == "llmos-light"
        off = next(place for place in bar.places if not place.part.key)
        await pilot.hover(bar, offset=off.region.offset)
        assert bar.tooltip is None


async def test_keys_and_clicks_lead_to_each_screen(open_app) -> None:
    async with open_app() as pilot:
        for place in PLACES:
            other = "jobs" if place.key == "1" else "dashboard"  # In the chat one writes: there it is alt+digit.
            for key in (place.key, f"alt+{place.key}"):
                pilot.app.action_show_place(other)
                await pilot.press(key)
                assert pilot.app.screen.place_name == place.name, key
            pilot.app.action_show_place(other)
            await pilot.pause()
            tab = next(tab for tab in pilot.app.screen.query("PlaceTab") if tab.place_name == place.name)
            await pilot.click(tab)
            assert pilot.app.screen.place_name == place.name


async def test_all_tabs_fit_80_columns(open_app) -> None:
    async with open_app(size=(80, 24)) as pilot:
        tabs = list(pilot.app.screen.query("PlaceTab"))
        assert len(tabs) == 9
        assert tabs[-1].region.right <= pilot.app.screen.query_one("ServerState").region.x


async def test_help_lists_every_key_of_the_screen_and_those_that_hold_everywhere(open_app) -> None:
    async with open_app(size=(140, 60), place="jobs") as pilot:
        await pilot.press("question_mark")
        assert isinstance(pilot.app.screen, HelpScreen)
        shown = pilot.app.export_screenshot().replace("&#160;", " ")
        for key in keys_of_class(LLMOSApp):
            assert key.description.partition(" ")[0] in shown
        await pilot.press("escape")
        assert pilot.app.screen.place_name == "jobs"


async def test_the_palette_has_all_screens_actions_and_themes(open_app) -> None:
    async with open_app() as pilot:
        commands = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        assert {place.title for place in PLACES} <= commands
        assert {"Help", "Quit", "Theme: light", "Theme: contrast"} <= commands
        await pilot.press("ctrl+p")
        await pilot.press(*"settings")
        await pilot.pause(0.3)
        await pilot.press("enter")
        await pilot.pause()
        assert pilot.app.screen.place_name == "settings"


async def test_the_theme_is_remembered(open_app, tmp_path: Path) -> None:
    path = tmp_path / "new" / "tui.json"
    async with open_app(preferences=path) as pilot:
        assert pilot.app.theme == "llmos-dark"
        await pilot.press("t")
        assert pilot.app.theme == "llmos-light"
    async with open_app(preferences=path) as pilot:
        assert pilot.app.theme == "llmos-light"


@pytest.mark.parametrize("content", [b"{", b'{"theme": 3}', b'{"theme": "mauve"}'])
async def test_a_broken_file_of_preferences_keeps_nobody_out(open_app, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tui.json"
    path.write_bytes(content)
    assert load_preferences(path)
    async with open_app(preferences=path) as pilot:
        assert pilot.app.theme == "llmos-dark"


async def test_a_theme_that_can_not_be_kept_is_told(open_app, tmp_path: Path, wait_for) -> None:
    (tmp_path / "file").write_text("")
    async with open_app(preferences=tmp_path / "file" / "tui.json") as pilot:
        await pilot.press("t")
        assert pilot.app.theme == "llmos-light"
        await wait_for(pilot, lambda: pilot.app.screen.query("Toast"))
        assert "can't be remembered" in str(pilot.app.screen.query_one("Toast").render())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("theme", [theme.name for theme in THEMES])
async def test_help_as_it_looks(open_app, size: tuple[int, int], theme: str) -> None:
    async with open_app(size=size, place="settings") as pilot:
        pilot.app.action_choose_theme(theme)
        await pilot.press("f1")
        await check_snapshot(pilot, f"help-{theme}")


async def test_a_banner_is_there_only_while_there_is_something_to_say(open_app) -> None:
    async with open_app() as pilot:
        assert not pilot.app.screen.query_one(ConnectionBanner).display


async def test_the_server_is_named_where_there_is_room_for_it(open_app, sees) -> None:
    async with open_app(size=(140, 40)) as pilot:
        assert "online llmos.test" in sees(pilot)
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "8 Settings" in sees(pilot)
        assert "online" not in sees(pilot)
