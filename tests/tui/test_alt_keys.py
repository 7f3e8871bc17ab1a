"""Alt with another key where one writes, as terminals send it and not as Textual's pilot presses it."""

from __future__ import annotations

import time

import pytest
from llmos_tui.alt_keys import let_alt_digits_be
from llmos_tui.screens.chat.prompt import Prompt
from textual import events
from textual._xterm_parser import XTermParser
from textual.constants import ESCAPE_DELAY
from tui_keys import classes_with_keys, own_keys

BOUND = sorted({key for kind in classes_with_keys() for found in own_keys(kind) for key in found.keys.split(",")})


@pytest.mark.parametrize("key", [key.removeprefix("alt+") for key in BOUND if key[:-1] == "alt+"])
def test_escape_and_a_key_are_alt_with_it(key: str) -> None:
    let_alt_digits_be()
    parser = XTermParser()
    told = list(parser.feed(f"\x1b{key}"))
    time.sleep(ESCAPE_DELAY)
    told += parser.tick()
    assert [event.key for event in told if isinstance(event, events.Key)] == [f"alt+{key}"]


async def test_they_do_what_the_footer_says_and_write_nothing(open_app) -> None:
    async with open_app(place="chat") as pilot:
        prompt = pilot.app.screen.query_one(Prompt)
        assert prompt.has_focus
        pilot.app.post_message(events.Key("alt+o", "o"))
        await pilot.pause()
        assert pilot.app.screen.query_one("OptionsPanel").display
        pilot.app.post_message(events.Key("alt+6", "6"))
        await pilot.pause()
        assert pilot.app.screen.place_name == "jobs"
        assert prompt.text == ""
