"""Stop strings against a slow and obvious search."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmos_server.chat.stops import StopMatch, StopMatcher

TEXT = st.text(alphabet="ab", max_size=20)
STOPS = st.lists(st.text(alphabet="ab", min_size=1, max_size=5), max_size=4)


def first_complete(text: str, stops: list[str]) -> StopMatch | None:
    for end in range(len(text) + 1):
        ending = [stop for stop in stops if text[:end].endswith(stop)]
        if ending:
            longest = max(ending, key=len)
            return StopMatch(end - len(longest), longest)
    return None


@given(TEXT, STOPS, st.integers(1, 20))
def test_finds_the_match_that_is_complete_first_however_the_text_is_cut(text: str, stops: list[str], size: int) -> None:
    matcher = StopMatcher(stops)
    found = None
    for start in range(0, len(text), size):
        found = found or matcher.feed(text[start : start + size])
    assert found == first_complete(text, stops)


@given(TEXT, STOPS)
def test_holds_exactly_what_may_become_a_match(text: str, stops: list[str]) -> None:
    matcher = StopMatcher(stops)
    if matcher.feed(text) is None:
        begins = [n for stop in stops for n in range(len(stop)) if text.endswith(stop[:n])]
        assert matcher.num_held == max(begins, default=0)


def test_a_match_that_does_not_count_is_read_over() -> None:
    matcher = StopMatcher(["aba"])
    assert matcher.feed("xaba", can_stop=False) is None
    assert matcher.feed("ba") == StopMatch(3, "aba")
