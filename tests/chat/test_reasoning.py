"""Reasoning split off: text by text, token by token, with calls and content behind it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.chat.answer_parser import AnswerParser
from llmos_server.chat.choice import ChoiceDecoder
from llmos_server.chat.deltas import TextDelta
from llmos_server.chat.reasoning import STYLES, ReasoningSplitter, choose_reasoning, is_open
from llmos_server.chat.renderer import Renderer
from llmos_server.chat.tools.hermes import HERMES
from llmos_server.chat.tools.parser import ToolParser
from llmos_server.contracts import ChoiceDelta

THINK, MISTRAL = STYLES["think"], STYLES["mistral"]

CASES = [
    ("<think>\nhm\n</think>\n\nYes.", False, "hm", "Yes."),
    ("\n<think>a\n\nb</think>Yes", False, "a\n\nb", "Yes"),
    ("hm\n</think>\n\nYes <think>no</think>", True, "hm", "Yes <think>no</think>"),
    ("<think>\n\n</think>\n\nYes", False, "", "Yes"),
    ("<think>cut sho", False, "cut sho", ""),
    ("<think>cut </thi", False, "cut </thi", ""),
    ("</think>", True, "", ""),
    ("Yes <think>no</think>", False, "", "Yes <think>no</think>"),
    ("  Yes", False, "", "  Yes"),
    ("<thin", False, "", "<thin"),
    ("", False, "", ""),
    ("", True, "", ""),
]


def split(pieces: list[str], opened: bool, markers: Any = THINK) -> tuple[str, str]:
    splitter = ReasoningSplitter(markers, is_open=opened)
    parts = [*map(splitter.feed, pieces), splitter.finish()]
    return "".join(reasoning for reasoning, _ in parts), "".join(text for _, text in parts)


@pytest.mark.parametrize(("text", "opened", "reasoning", "content"), CASES)
def test_it_is_split_off(text: str, opened: bool, reasoning: str, content: str) -> None:
    assert split([text], opened) == (reasoning, content)
    other = text.replace("<think>", MISTRAL.begin).replace("</think>", MISTRAL.end).replace("</thi", "[/THI")
    if "<thin" not in other:
        expected = (reasoning.replace("</thi", "[/THI"), content.replace("<think>", MISTRAL.begin))
        assert split(list(other), opened, MISTRAL) == (expected[0], expected[1].replace("</think>", MISTRAL.end))


@given(st.lists(st.sampled_from(["<think>", "</think>", "</thi", " ", "\n", "a", "b "]), max_size=8), st.booleans())
def test_the_cutting_makes_no_difference(words: list[str], opened: bool) -> None:
    text = "".join(words)
    assert split(words, opened) == split([text], opened) == split(list(text), opened)


def test_the_template_tells_the_markers() -> None:
    assert choose_reasoning("… </think> …") == THINK
    assert choose_reasoning("[THINK] [/THINK]") == MISTRAL
    assert choose_reasoning("plain") is None
    assert choose_reasoning("plain", "think") == THINK
    assert choose_reasoning("</think>", "none") is None


@pytest.mark.parametrize(
    ("prompt", "is_continued", "expected"),
    [
        ("<|assistant|><think>\n", False, True),
        ("<|assistant|><think>\n\n</think>\n\n", False, False),
        ("<|assistant|>", False, False),
        ("<think>So far", True, True),
        ("<think>So</think> Yes", True, False),
        ("<think>So far", False, False),
    ],
)
def test_a_prompt_may_leave_it_open(prompt: str, is_continued: bool, expected: bool) -> None:
    assert is_open(THINK, prompt, is_continued=is_continued) == expected


TEXT = '<think>\nIs it?\n</think>\n\nLet me see.\n<tool_call>\n{"name": "w", "arguments": {"a": 1}}\n</tool_call>'


@given(st.data())
def test_tokens_of_reasoning_are_counted_exactly_however_they_come(renderer: Renderer, data: st.DataObject) -> None:
    """A token that holds the marker's last character is the last one that counts."""
    text = TEXT[: data.draw(st.integers(0, len(TEXT)))]
    ids = renderer.encode(text, add_special_tokens=False)
    num_steps = data.draw(st.integers(1, 7))
    cuts = [ids[place : place + num_steps] for place in range(0, len(ids), num_steps)] or [[]]
    parts = run(renderer, cuts)
    length = 0
    expected = 0
    end = TEXT.index("</think>") + len("</think>")
    for token in ids:
        expected += length < end and text.startswith("<think>")
        length += len(renderer.token_bytes(token))
    assert sum(part.num_reasoning_tokens for part in parts) == expected
    assert sum(part.num_tokens for part in parts) == len(ids)
    whole = run(renderer, [ids])
    for field in ("text", "reasoning"):
        assert "".join(getattr(p, field) for p in parts) == "".join(getattr(p, field) for p in whole)
    assert parts[-1].has_calls == (text == TEXT or text == TEXT + "\n") or not text.endswith("}}\n</tool_call>")


def run(renderer: Renderer, cuts: list[list[int]]) -> list[TextDelta]:
    decoder = ChoiceDecoder(renderer, index=0)
    parser = AnswerParser(ReasoningSplitter(THINK, is_open=False), ToolParser(HERMES))
    deltas = [
        ChoiceDelta(request_id="r", index=0, token_ids=ids, finish_reason="stop" if i == len(cuts) - 1 else None)
        for i, ids in enumerate(cuts)
    ]
    return [parser.feed(text) for text in map(decoder.feed, deltas) if text is not None]


def test_what_a_whole_answer_is_parted_into(renderer: Renderer) -> None:
    [part] = run(renderer, [renderer.encode(TEXT, add_special_tokens=False)])
    assert (part.reasoning, part.text, part.has_calls) == ("Is it?", "Let me see.", True)
    assert [(call.name, call.arguments) for call in part.calls] == [("w", ""), ("", '{"a": 1}')]
