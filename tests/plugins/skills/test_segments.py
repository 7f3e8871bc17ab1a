"""Texts are cut so that the pieces, joined, are the text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmos_plugins.text.parts import split_sentences, split_to_fit
from llmos_plugins.translation.kept import MARK, mask
from llmos_plugins.translation.segments import Segment, fit_segments, split_segments, unwrapped

PIECES = [
    "Hello there",
    "and a rather long line of words that goes on",
    " ",
    "\n",
    "\n\n",
    ". ",
    "! ",
    "。",
    "- ",
    "1. ",
    "# ",
    "> ",
    "|",
]
MORE = ["a | b", "<b>", "</b>", "{x}", "Dr. ", "中文", "\t", "\r\n", "\u2028", "…", "x" * 40, "[ ] ", "* ", "é"]
TEXTS = st.one_of(st.lists(st.sampled_from(PIECES + MORE), max_size=30).map("".join), st.text(max_size=80))


async def count(text: str) -> int:
    return len(text)


@given(text=TEXTS)
def test_segments_joined_are_the_document(text: str) -> None:
    masked = mask(text)
    segments = split_segments(masked.text, masked.pairs)
    assert "".join(segment.text for segment in segments) == masked.text
    for segment in segments:
        assert segment.text
        if segment.is_text:
            assert segment.text == segment.text.strip()
            assert any(map(str.isalpha, MARK.sub("", segment.text)))
            assert "\n" not in unwrapped(segment.text)


@given(text=TEXTS, limit=st.integers(16, 60))
async def test_what_is_too_long_is_cut_and_joined_is_the_document(text: str, limit: int) -> None:
    masked = mask(text)
    segments = await fit_segments(split_segments(masked.text, masked.pairs), limit, count)
    assert "".join(segment.text for segment, _ in segments) == masked.text
    assert all(num_tokens <= limit for _, num_tokens in segments)
    marks = [mark for segment, _ in segments for mark in MARK.findall(segment.text)]
    assert len(marks) == len(masked.kept), "a mark was cut"


@given(text=TEXTS, limit=st.integers(1, 60))
async def test_parts_joined_are_the_text(text: str, limit: int) -> None:
    parts = await split_to_fit(text, limit, count)
    assert "".join(part.text for part in parts) == text
    assert all(len(part.text) == part.num_tokens <= limit for part in parts)


@given(text=TEXTS)
def test_sentences_joined_are_the_text(text: str) -> None:
    assert "".join(split_sentences(text)) == text


def test_where_sentences_end() -> None:
    text = "Dr. Smith came. He said “No.” Then he left! 3.5 kg, e.g. apples. 好。再见。\nNew line"
    assert [sentence.strip() for sentence in split_sentences(text)] == [
        "Dr. Smith came.",
        "He said “No.”",
        "Then he left!",
        "3.5 kg, e.g. apples.",
        "好。",
        "再见。",
        "New line",
    ]


async def test_parts_end_where_paragraphs_and_sentences_do() -> None:
    text = "One two. Three four.\n\nFive six. Seven eight nine."
    assert [part.text for part in await split_to_fit(text, 22, count)] == [
        "One two. Three four.\n\n",
        "Five six. ",
        "Seven eight nine.",
    ]


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("# Title\n\n- one\n- [x] two\n1. three\n> four", ["Title", "one", "two", "three", "four"]),
        ("| a | b \\| c |\n|---|:-:|\n| 1 | d |", ["a", "b \\| c", "d"]),
        ("12:30\n====\n  5 %", []),
        ("<x1/>", []),
        ("Short\nlines stay\napart", ["Short", "lines stay", "apart"]),
        (
            "A line that is long enough to be one of those that\nare wrapped by an editor.\nNext",
            ["A line that is long enough to be one of those that\nare wrapped by an editor.", "Next"],
        ),
    ],
)
def test_what_is_translated(text: str, texts: list[str]) -> None:
    assert [segment.text for segment in split_segments(text) if segment.is_text] == texts


def test_what_encloses_a_whole_text_stays_outside() -> None:
    masked = mask("<p>Click <b>here</b></p>\n<li><em>All</em></li>")
    assert split_segments(masked.text, masked.pairs) == [
        Segment("<x1/>Click <x2/>here<x3/>", True),
        Segment("\n", False),
        Segment("<x4/>", False),
        Segment("All", True),
        Segment("<x5/>", False),
    ]


def test_wrapped_lines_are_asked_as_one() -> None:
    assert unwrapped("one\n  two") == "one two"
    assert unwrapped("中文\n中文") == "中文中文"
