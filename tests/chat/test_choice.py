"""Streams of tokens to text: whole characters, stop strings, log-probabilities; however the stream is cut."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmos_server.chat.choice import ChoiceDecoder
from llmos_server.chat.deltas import TextDelta
from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import ChoiceDelta, TokenLogprob
from llmos_server.errors import InvalidRequest


def stream(
    renderer: Renderer,
    ids: Sequence[int],
    cuts: Sequence[int] = (),
    *,
    finish_reason: Any = "length",
    stop_token_id: int | None = None,
    logprobs: bool = False,
    **options: Any,
) -> list[TextDelta]:
    """Feed ids in pieces that end at `cuts`, the finish with the last piece. Checks what holds of every stream."""
    decoder = ChoiceDecoder(renderer, index=3, **options)
    places = [0, *sorted(cut for cut in cuts if cut < len(ids)), len(ids)]
    deltas = []
    for start, end in pairwise(places):
        piece = list(ids[start:end])
        delta = ChoiceDelta(
            "r",
            3,
            piece,
            finish_reason=finish_reason if end == len(ids) else None,
            stop_token_id=stop_token_id if end == len(ids) else None,
            logprobs=[TokenLogprob(i, -0.5 * i, [(i, -0.5 * i), (1, -9.0)]) for i in piece] if logprobs else None,
        )
        deltas.append(decoder.feed(delta))
    assert decoder.stopped
    assert decoder.feed(ChoiceDelta("r", 3, [5])) is None
    released = [delta for delta in deltas if delta is not None]
    assert [delta.finish_reason is not None for delta in released] == [False] * (len(released) - 1) + [True]
    assert decoder.stopped_by_string == isinstance(released[-1].stop, str)
    return released


@dataclass
class Whole:
    text: str
    token_ids: list[int]
    finish_reason: str | None
    stop: str | int | None


def joined(deltas: list[TextDelta]) -> Whole:
    assert all(delta.index == 3 and delta.num_tokens == len(delta.token_ids) for delta in deltas)
    ids = [token_id for delta in deltas for token_id in delta.token_ids]
    return Whole("".join(delta.text for delta in deltas), ids, deltas[-1].finish_reason, deltas[-1].stop)


def expected(renderer: Renderer, ids: list[int], stops: list[str], min_tokens: int) -> Whole:
    """The whole text at once: the first complete match cuts; tokens are kept that have text before the cut."""
    for num_tokens in range(len(ids) + 1):
        is_last = num_tokens == len(ids)
        text = renderer.decode(ids[:num_tokens])
        if not is_last:  # an unfinished character may still change
            text = text[: whole_chars(renderer, ids[:num_tokens])]
        old = (
            renderer.decode(ids[: num_tokens - 1])[: whole_chars(renderer, ids[: num_tokens - 1])] if num_tokens else ""
        )
        ends = range(len(old) + 1, len(text) + 1) if num_tokens > min_tokens else ()
        for end in ends:
            found = [stop for stop in stops if text[:end].endswith(stop)]
            if found:
                stop = max(found, key=len)
                cut = end - len(stop)
                kept = num_kept(renderer, ids[:num_tokens], cut)
                return Whole(text[:cut], ids[:kept], "stop", stop)
    return Whole(renderer.decode(ids), ids, "length", None)


def visible(renderer: Renderer, ids: list[int]) -> bytes:
    return b"".join(renderer.token_bytes(i) for i in ids if i not in renderer.special_ids)


def whole_chars(renderer: Renderer, ids: list[int]) -> int:
    """Characters that later bytes can't change."""
    return len(codecs.getincrementaldecoder("utf-8")("replace").decode(visible(renderer, ids)))


def num_kept(renderer: Renderer, ids: list[int], cut: int) -> int:
    """Tokens up to the last one that has a byte before the cut, and the invisible ones right behind it."""
    data = visible(renderer, ids)
    before = data.decode("utf-8", "replace")[:cut]
    cut_bytes = max(n for n in range(len(data) + 1) if data[:n].decode("utf-8", "replace") == before)
    kept, place = 0, 0
    for i, token_id in enumerate(ids):
        size = len(visible(renderer, [token_id]))
        if place < cut_bytes or (size == 0 and place == cut_bytes):
            kept = i + 1
        place += size
    return kept


TEXT = st.text(alphabet="ab \né🙂e\u0301日", max_size=24)
CUTS = st.lists(st.integers(0, 60), max_size=12)
STOPS = st.lists(st.text(alphabet="ab \né🙂日", min_size=1, max_size=4), max_size=3)


@given(st.lists(st.integers(0, 401), max_size=30), CUTS)
def test_any_ids_stream_as_they_decode(renderer: Renderer, ids: list[int], cuts: list[int]) -> None:
    whole = joined(stream(renderer, ids, cuts))
    assert whole == Whole(renderer.decode(ids), ids, "length", None)
    text = "".join(d.text for d in stream(renderer, ids, cuts, skip_special_tokens=False))
    assert text == renderer.decode(ids, skip_special_tokens=False)


@settings(max_examples=300)
@given(TEXT, CUTS, STOPS, st.integers(0, 6), st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0, 2, 3]))))
@example("ab", [1], ["b", "ab"], 0, [])
@example("é日b", [1, 2, 3, 4, 5], ["日"], 0, [(1, 2)])
def test_stops_alike_however_the_stream_is_cut(
    renderer: Renderer, text: str, cuts: list[int], stops: list[str], min_tokens: int, special: list[tuple[int, int]]
) -> None:
    ids = renderer.encode(text, add_special_tokens=False)
    for place, token_id in special:
        ids.insert(min(place, len(ids)), token_id)
    options: dict[str, Any] = {"stop": stops, "min_tokens": min_tokens, "logprobs": True}
    deltas = stream(renderer, ids, cuts, **options)
    whole = joined(deltas)
    assert whole == expected(renderer, ids, stops, min_tokens)
    for delta in deltas:
        assert delta.tokens is not None
        assert [token.token_id for token in delta.tokens] == delta.token_ids


@given(
    st.text(alphabet="ab", min_size=1, max_size=20),
    st.lists(st.text(alphabet="ab", min_size=1, max_size=4), min_size=1),
)
def test_a_stop_string_never_leaks(renderer: Renderer, text: str, stops: list[str]) -> None:
    ids = renderer.encode(text, add_special_tokens=False)
    shown = ""
    for delta in stream(renderer, ids, range(len(ids)), stop=stops):
        shown += delta.text
        assert not any(stop in shown for stop in stops)


@given(TEXT, CUTS)
def test_characters_are_never_torn(renderer: Renderer, text: str, cuts: list[int]) -> None:
    ids = renderer.encode(text, add_special_tokens=False)
    shown = ""
    for delta in stream(renderer, ids, cuts):
        shown += delta.text
        assert text.startswith(shown)


def tokens_of(renderer: Renderer, *texts: str) -> list[int]:
    """One token each, so that a test can say where tokens end."""
    ids = [renderer.encode(text, add_special_tokens=False) for text in texts]
    assert all(len(each) == 1 for each in ids)
    return [each[0] for each in ids]


def test_text_behind_the_match_in_the_same_token_is_dropped(renderer: Renderer) -> None:
    ids = tokens_of(renderer, "user", " ", "a")
    whole = joined(stream(renderer, ids, stop=["se"]))
    assert whole == Whole("u", ids[:1], "stop", "se")


def test_a_match_that_begins_with_a_token_does_not_count_it(renderer: Renderer) -> None:
    ids = tokens_of(renderer, "a", "user", "b")
    assert joined(stream(renderer, ids, [1, 2], stop=["use"])) == Whole("a", ids[:1], "stop", "use")


def test_held_back_text_is_released_with_its_logprobs_when_the_stop_does_not_come(renderer: Renderer) -> None:
    ids = tokens_of(renderer, "a", "b", "c", "d")
    deltas = stream(renderer, ids, [1, 2, 3], stop=["bcx"], logprobs=True, finish_reason="stop", stop_token_id=1)
    assert [delta.text for delta in deltas] == ["a", "bcd"]
    assert [[token.text for token in delta.tokens or []] for delta in deltas] == [["a"], ["b", "c", "d"]]
    assert deltas[-1].stop == 1
    assert deltas[-1].finish_reason == "stop"


def test_held_back_text_is_released_at_the_end(renderer: Renderer) -> None:
    ids = tokens_of(renderer, "a", "b")
    decoder = ChoiceDecoder(renderer, index=0, stop=["bc"])
    assert decoder.feed(ChoiceDelta("r", 0, ids)) == TextDelta(0, "a", None, ids[:1], None, 1, None, ends=[1])
    assert decoder.feed(ChoiceDelta("r", 0, [])) is None
    last = decoder.feed(ChoiceDelta("r", 0, [], finish_reason="length"))
    assert last == TextDelta(0, "b", None, ids[1:], "length", 1, None, ends=[1])
    assert decoder.stopped
    assert not decoder.stopped_by_string


def test_the_stop_string_wins_over_a_finish_in_the_same_delta(renderer: Renderer) -> None:
    ids = tokens_of(renderer, "a", "b", "c")
    whole = joined(stream(renderer, ids, stop=["b"], finish_reason="length"))
    assert whole == Whole("a", ids[:1], "stop", "b")


def test_a_match_before_min_tokens_does_not_stop(renderer: Renderer) -> None:
    ids = tokens_of(renderer, "a", "b", "a", "b", "a")
    assert joined(stream(renderer, ids, stop=["b"], min_tokens=2)).text == "aba"
    assert joined(stream(renderer, ids, stop=["ba"], min_tokens=2)).text == "a"
    assert joined(stream(renderer, ids, stop=["b"], min_tokens=4)).text == "ababa"


def test_an_answer_of_nothing(renderer: Renderer) -> None:
    decoder = ChoiceDecoder(renderer, index=0)
    delta = decoder.feed(ChoiceDelta("r", 0, [], finish_reason="stop", stop_token_id=3))
    assert delta == TextDelta(0, "", None, [], "stop", 0, 3)


def test_special_tokens_are_counted_without_text(renderer: Renderer) -> None:
    decoder = ChoiceDecoder(renderer, index=0)
    assert decoder.feed(ChoiceDelta("r", 0, [2])) == TextDelta(0, "", None, [2], None, 1, None, ends=[0])


def test_special_tokens_that_are_shown_have_text(renderer: Renderer) -> None:
    decoder = ChoiceDecoder(renderer, index=0, shown_ids=frozenset({2}))
    literal = renderer.token_text(2)
    assert decoder.feed(ChoiceDelta("r", 0, [3, 2])) == TextDelta(
        0, literal, None, [3, 2], None, 2, None, ends=[0, len(literal)]
    )


def test_bytes_that_are_no_character_count_for_the_token_that_brought_them(renderer: Renderer) -> None:
    half = next(i for i in range(renderer.vocab_size) if renderer.token_bytes(i) == b"\xe2")
    ids = [half, *tokens_of(renderer, "a")]
    assert joined(stream(renderer, ids, [1], stop=["a"])) == Whole("\ufffd", [half], "stop", "a")
    assert joined(stream(renderer, [half])).text == "\ufffd"


def test_an_empty_stop_string_is_refused(renderer: Renderer) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ChoiceDecoder(renderer, index=0, stop=["a", ""])
    assert caught.value.param == "stop"


def test_logprobs_carry_text_and_bytes(renderer: Renderer) -> None:
    first, *rest = renderer.encode("é", add_special_tokens=False, parse_special=False)
    (delta,) = stream(renderer, [2, first, *rest], logprobs=True)
    assert delta.tokens is not None
    assert (delta.tokens[0].text, delta.tokens[0].bytes, delta.tokens[0].logprob) == (
        "<|im_start|>",
        b"<|im_start|>",
        -1,
    )
    assert delta.tokens[0].top == [(2, "<|im_start|>", b"<|im_start|>", -1.0), (1, "</s>", b"</s>", -9.0)]
    assert b"".join(token.bytes for token in delta.tokens[1:]) == "é".encode()


def test_a_text_that_goes_on_keeps_its_first_space(spaced: Renderer) -> None:
    hello = spaced.encode("Hello")
    assert spaced.token_bytes(hello[0]) == b" Hello"
    assert joined(stream(spaced, hello, prompt_tail=hello)).text == " Hello"
    for tail in ([], [1]):  # nothing, or a begin token: the text begins here
        assert joined(stream(spaced, hello, prompt_tail=tail)).text == "Hello" == spaced.decode(hello)


@given(st.text(alphabet="Helo wrdéö日", max_size=20), CUTS)
def test_sentencepiece_streams_as_it_decodes(spaced: Renderer, text: str, cuts: list[int]) -> None:
    ids = spaced.encode(text)
    assert joined(stream(spaced, ids, cuts)).text == spaced.decode(ids) == text
    assert joined(stream(spaced, ids, cuts, prompt_tail=ids or [1])).text == (" " + text if ids else "")


def test_a_text_completes_the_prompts_last_character(renderer: Renderer) -> None:
    byte = {renderer.token_bytes(i): i for i in range(renderer.vocab_size)}
    first, second, third = (byte[bytes([value])] for value in "€".encode())
    (letter,) = tokens_of(renderer, "a")
    assert joined(stream(renderer, [second, third, letter], [1], prompt_tail=[letter, first])).text == "€a"
    assert joined(stream(renderer, [letter], prompt_tail=[letter, first])).text == "a"
    assert joined(stream(renderer, [], prompt_tail=[letter, first])).text == ""
    assert joined(stream(renderer, [second], prompt_tail=[letter, first])).text == "\ufffd"
