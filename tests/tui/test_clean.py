"""Nothing that comes from the server drives the terminal."""

from __future__ import annotations

import json
import re

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmos_tui.clean import clean_text
from llmos_tui.client import Client, Refused, decode
from llmos_tui.widgets.line import Line
from llmos_tui.wire.common import Anything
from textual.app import App, ComposeResult

CONTROLS = [chr(code) for code in (*range(32), *range(127, 160))]
TEXTS = st.text(st.one_of(st.sampled_from([*CONTROLS, "\\", '"', "u", "0", "1", "b", "f", "ä", "字"]), st.characters()))


@given(TEXTS, st.booleans())
def test_decoded_texts_hold_no_commands_and_all_else_as_it_was(text: str, is_ascii: bool) -> None:
    expected = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\ufffd", text)
    data = json.dumps({"a": text, text: 1}, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    if any(0xD800 <= ord(char) < 0xE000 for char in text):
        return
    assert decode(data, dict)["a"] == expected
    assert clean_text(text) == expected


async def test_nor_does_an_error_page() -> None:
    async def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(502, text="\x1b]0;title\x07")

    with pytest.raises(Refused, match=r"502: \ufffd\]0;title\ufffd"):
        await Client("http://llmos.test", transport=httpx2.MockTransport(answer)).get("/x", Anything)


class OneLine(App[None]):
    def compose(self) -> ComposeResult:
        yield Line(id="line")


async def test_nor_is_it_read_as_markup_where_the_mouse_is() -> None:
    text = "[/gone] and [red"
    async with OneLine().run_test(tooltips=True) as pilot:
        line = pilot.app.query_one(Line)
        line.show(text)
        await pilot.hover(Line)
        await pilot.pause(pilot.app.TOOLTIP_DELAY + 0.1)
        assert pilot.app.screen.query_one("#textual-tooltip").render().plain == text
