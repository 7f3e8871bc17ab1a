"""What a model reads of a tool's result."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from llmos_server.agents.mcp.results import cut, to_output


def text(text: str) -> Any:
    return SimpleNamespace(type="text", text=text)


def result(*content: Any, structured: Any = None, is_error: bool | None = None) -> Any:
    return SimpleNamespace(content=list(content), structured_content=structured, is_error=is_error)


RESOURCE = SimpleNamespace(uri="file:///a", text="inside")
BLOB = SimpleNamespace(uri="file:///b", blob="AAAA")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (result(text("a"), text("b")), "a\nb"),
        (result(), ""),
        (result(text('{"n": 1}'), structured={"n": 1}), '{"n":1}'),
        (result(text("one"), structured={"n": 1}), 'one\n{"n":1}'),
        (result(structured={"n": 1}), '{"n":1}'),
        (result(text("3"), structured={"result": 3}), "3"),
        (result(text("abc"), structured={"result": "abc"}), "abc"),
        (result(text("abc"), structured={"result": "other"}), 'abc\n{"result":"other"}'),
        (result(SimpleNamespace(type="resource", resource=RESOURCE)), "inside"),
        (
            result(SimpleNamespace(type="resource", resource=BLOB)),
            "[resource file:///b: not shown, this server passes text on]",
        ),
        (
            result(SimpleNamespace(type="audio", mime_type="audio/wav")),
            "[audio (audio/wav): not shown, this server passes text on]",
        ),
        (result(SimpleNamespace(type="hologram")), "[hologram: not supported]"),
    ],
)
async def test_text_is_joined_and_the_rest_is_named(given: Any, shown: str) -> None:
    output = await to_output(given, None, 1000)
    assert (output.text, output.is_error) == (shown, False)


async def test_what_a_tool_declares_is_held_against_it() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    assert (await to_output(result(structured={"n": 1}), schema, 1000)).text == '{"n":1}'
    missing = await to_output(result(text("1")), schema, 1000)
    assert (missing.is_error, "no structured content" in missing.text) == (True, True)
    failed = await to_output(result(text("no such row"), is_error=True), schema, 1000)
    assert (failed.is_error, failed.text) == (True, "no such row")


def test_a_cut_is_told_and_tears_no_character() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("éé", 3) == "é\n[The result is cut: these are the first 3 of its 4 bytes.]"
