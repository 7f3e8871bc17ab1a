"""Every format's parser: what it finds, that nothing is lost, and that it doesn't matter how a text arrives."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.chat.tools.formats import FORMATS
from llmos_server.chat.tools.parser import ToolParser

Calls = list[tuple[str, str]]

ROME = '{"city": "Rome"}'
ODD = r'{"a": "}]\"</tool_call>[ARGS] {", "b": [{"c": {}}, 1.5, null, "\\"], "é": true}'
CASES: dict[str, list[tuple[str, str, Calls]]] = {
    "hermes": [
        (f'<tool_call>\n{{"name": "w", "arguments": {ROME}}}\n</tool_call>', "", [("w", ROME)]),
        (f'Let me see.\n\n<tool_call>{{"name": "w", "arguments": {ROME}}}</tool_call>', "Let me see.", [("w", ROME)]),
        (
            f'<tool_call>\n{{"name": "w", "arguments": {ROME}}}\n</tool_call>\n'
            f'<tool_call>\n{{"name": "v.x", "arguments": {ODD}}}\n</tool_call>',
            "",
            [("w", ROME), ("v.x", ODD)],
        ),
        (f'<tool_call>{{"arguments": {ROME}, "name": "w"}}</tool_call>', "", [("w", ROME)]),
        ('<tool_call>{"name": "w"}</tool_call>', "", [("w", "{}")]),
    ],
    "granite": [
        (f'<|tool_call|>[{{"name": "w", "arguments": {ROME}}}]', "", [("w", ROME)]),
        (
            f'So: <tool_call>[{{"name": "w", "arguments": {ODD}}}, {{"name": "v", "arguments": {{}}}}]',
            "So:",
            [("w", ODD), ("v", "{}")],
        ),
    ],
    "mistral": [
        (f'[TOOL_CALLS] [{{"name": "w", "arguments": {ROME}}}]', "", [("w", ROME)]),
        (
            f'Hm [TOOL_CALLS][{{"name": "w", "arguments": {ODD}}},{{"name": "v", "arguments": {ROME}}}]',
            "Hm",
            [("w", ODD), ("v", ROME)],
        ),
    ],
    "mistral_args": [
        (f"[TOOL_CALLS]w[ARGS]{ROME}", "", [("w", ROME)]),
        (
            f"Hm [TOOL_CALLS]w[CALL_ID]123456789[ARGS]{ODD}[TOOL_CALLS]v[ARGS]{{}}",
            "Hm",
            [("w", ODD), ("v", "{}")],
        ),
    ],
    "llama3": [
        (f'{{"name": "w", "parameters": {ROME}}}', "", [("w", ROME)]),
        (f'\n{{"type": "function", "name": "w", "parameters": {ODD}}}', "", [("w", ODD)]),
        (f'Sure <|python_tag|>{{"name": "w", "parameters": {ROME}}}', "Sure", [("w", ROME)]),
        ('{"names": 1} is JSON', '{"names": 1} is JSON', []),
    ],
}
"""Format -> text, its content, its calls."""
ALL = [(name, *case) for name, cases in CASES.items() for case in cases]

TEXTS = ["", "Hello", "a < b <tool", "[TOOL_CALL", " \n", "{", "{ 'a'", "<|python_tag", "x\n\n", '{"na', '"name"']
"""Without a whole marker: text, to the last space."""

BROKEN = [
    "<tool_call>no</tool_call>",
    'a <tool_call>{"nam',
    '<tool_call>{"name": 5, "arguments": {}}</tool_call>',
    "<tool_call>{1}</tool_call> and more",
    "<|tool_call|>[",
    "[TOOL_CALLS]",
    "[TOOL_CALLS]two words[ARGS]{}",
    "[TOOL_CALLS] [}",
    "<|python_tag|>print(1)",
    '{"name": "\\x"}',
]


def parse(name: str, pieces: list[str], **options: Any) -> tuple[str, Calls, bool]:
    """Content, calls, and whether they are whole."""
    parser = ToolParser(FORMATS[name], **options)
    parsed = [*map(parser.feed, pieces), parser.finish()]
    calls: list[list[str]] = []
    for call in (call for part in parsed for call in part.calls):
        if call.name:
            assert (call.index, call.arguments) == (len(calls), "")
            assert re.fullmatch("[a-zA-Z0-9]{9}" if FORMATS[name].has_short_ids else "call_[0-9a-f]{24}", call.id)
            calls.append([call.name, ""])
        else:
            assert call.index == len(calls) - 1
            calls[-1][1] += call.arguments
    ids = [call.id for part in parsed for call in part.calls if call.name]
    assert len(set(ids)) == len(ids)
    return "".join(part.content for part in parsed), [(name, text) for name, text in calls], parser.is_whole


@pytest.mark.parametrize(("name", "text", "content", "calls"), ALL)
def test_calls_are_found(name: str, text: str, content: str, calls: Calls) -> None:
    assert parse(name, [text]) == (content, calls, True)
    assert all(isinstance(json.loads(arguments), dict) for _, arguments in calls)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("text", TEXTS)
def test_text_stays_text(name: str, text: str) -> None:
    assert parse(name, [text]) == (text, [], True)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("text", BROKEN)
def test_what_is_no_call_is_content_to_the_last_character(name: str, text: str) -> None:
    """Only an engine without grammars, or a cut answer, brings such."""
    assert parse(name, [text]) == (text, [], True)


@pytest.mark.parametrize(("name", "text", "content", "calls"), ALL)
def test_a_cut_answer_keeps_what_was_there(name: str, text: str, content: str, calls: Calls) -> None:
    for end in range(len(text)):
        said, found, is_whole = parse(name, [text[:end]])
        assert said == content or not found
        assert len(found) <= len(calls)
        for (found_name, found_arguments), (called, arguments) in zip(found, calls, strict=False):
            assert found_name == called
            assert arguments.startswith(found_arguments)
        assert is_whole or found


def test_what_looks_like_a_call_is_content_where_the_content_is_json() -> None:
    text = '{"name": "Rome"}'
    assert parse("llama3", [text], can_be_bare=False) == (text, [], True)
    assert parse("llama3", [f"<|python_tag|>{text}"], can_be_bare=False)[1] == [("Rome", "{}")]


@given(st.data())
def test_the_cutting_makes_no_difference(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(FORMATS)))
    known = [text for text, *_ in CASES[name]] + TEXTS + BROKEN
    text = "".join(data.draw(st.lists(st.sampled_from(known) | st.text(max_size=5), max_size=4)))
    text = text[: data.draw(st.integers(0, len(text)))]
    places = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)))
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    whole = parse(name, [text])
    assert parse(name, pieces) == whole
    assert parse(name, list(text)) == whole
