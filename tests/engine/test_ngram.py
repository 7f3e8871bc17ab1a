from __future__ import annotations

from array import array

import pytest
from engine_fakes import make_request
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.engine.ngram import MAX_TOKENS, MIN_TOKENS, NgramProposer, find_period
from llmos_server.engine.sequence import Sequence
from llmos_server.engine.step import StepPlan

PLAN = StepPlan([])


def history(token_ids: list[int]) -> bytearray:
    return bytearray(array("i", token_ids).tobytes())


def searched(ids: list[int]) -> int:
    """find_period, place by place."""
    for num_tokens in range(MAX_TOKENS, MIN_TOKENS - 1, -1):
        for end in range(len(ids) - 1, num_tokens - 1, -1):
            if ids[end - num_tokens : end] == ids[-num_tokens:]:
                return len(ids) - end
    return 0


# Ids whose bytes repeat, so that matches that begin inside an id must be told from true ones.
@given(st.lists(st.sampled_from([0, 1, 256, 257, 65536, 16843009]), max_size=60))
def test_the_latest_place_with_most_of_the_last_tokens(ids: list[int]) -> None:
    assert find_period(history(ids)) == searched(ids)


@pytest.mark.parametrize(
    ("token_ids", "guess"),
    [
        ([1, 2, 3, 4, 5, 1, 2], [3, 4, 5, 1]),
        ([7, 7, 7, 7], [7, 7, 7, 7]),
        ([1, 2, 1, 2], [1, 2, 1, 2]),
        ([9, 1, 2, 3, 8, 1, 2, 4, 9, 1, 2], [3, 8, 1, 2]),
        ([1, 2, 3, 2], []),
        ([1], []),
    ],
)
def test_what_followed_before_is_the_guess(token_ids: list[int], guess: list[int]) -> None:
    sequence = Sequence(make_request("r", token_ids), 0, 0.0)
    assert NgramProposer().propose(PLAN, {sequence: 4}) == {sequence: guess}


def test_each_sequence_has_its_own_growing_history() -> None:
    proposer = NgramProposer()
    first, second = (Sequence(make_request("r", ids), 0, 0.0) for ids in ([1, 2, 3, 1], [5, 6, 7]))
    assert proposer.propose(PLAN, {first: 2, second: 2}) == {first: [], second: []}
    first.token_ids.append(2)
    second.token_ids += [5, 6]
    assert proposer.propose(PLAN, {first: 2, second: 3}) == {first: [3, 1], second: [7, 5, 6]}
    proposer.forget(first)
    assert proposer.propose(PLAN, {first: 1}) == {first: [3]}
