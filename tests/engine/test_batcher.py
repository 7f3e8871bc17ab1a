"""What an encoder computes next: everything once, within the budget, every owner in turn."""

from __future__ import annotations

from encoder_fakes import make_request
from hypothesis import given
from hypothesis import strategies as st

from llmos_server.engine.batcher import MIN_LENGTH_SHARE, Batcher, Item
from llmos_server.key_contracts import BACKGROUND

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=12)
REQUESTS = st.lists(st.tuples(st.sampled_from("abc"), LENGTHS), min_size=1, max_size=8)


def fill(batcher: Batcher, requests: list[tuple[str, list[int]]]) -> dict[str, str]:
    """Request id -> owner. The ids of an input tell its length only."""
    owners = {}
    for number, (owner, lengths) in enumerate(requests):
        batcher.add(make_request(f"r{number}", [[0] * length for length in lengths], owner))
        owners[f"r{number}"] = owner
    return owners


def drain(batcher: Batcher) -> list[list[Item]]:
    batches = []
    while batcher.has_work:
        batches.append(batcher.next_batch())
        assert batches[-1]
    return batches


@given(requests=REQUESTS, max_tokens=st.integers(1, 100))
def test_every_input_is_given_out_once_and_no_batch_passes_the_budget(
    requests: list[tuple[str, list[int]]], max_tokens: int
) -> None:
    batcher = Batcher(max_tokens)
    fill(batcher, requests)
    batches = drain(batcher)
    given_out = sorted((item.request_id, item.index, len(item.token_ids)) for batch in batches for item in batch)
    wanted = [(f"r{i}", j, n) for i, (_, lengths) in enumerate(requests) for j, n in enumerate(lengths)]
    assert given_out == sorted(wanted)
    for batch in batches:
        widths = [len(item.token_ids) for item in batch]
        assert len(batch) == 1 or len(batch) * max(widths) <= max_tokens
        assert min(widths) >= max(widths) * MIN_LENGTH_SHARE
    assert batcher.next_batch() == []


@given(requests=REQUESTS, max_tokens=st.integers(1, 100))
def test_no_owner_waits_longer_than_one_round(requests: list[tuple[str, list[int]]], max_tokens: int) -> None:
    """While an owner waits, each of the others begins at most one batch."""
    batcher = Batcher(max_tokens)
    owners = fill(batcher, requests)
    begun_since: dict[str, list[str]] = {owner: [] for owner in owners.values()}
    left = {request_id: len(lengths) for request_id, (_, lengths) in zip(owners, requests, strict=True)}
    while batcher.has_work:
        batch = batcher.next_batch()
        first = owners[batch[0].request_id]
        for item in batch:
            left[item.request_id] -= 1
        for owner, others in begun_since.items():
            if owner == first or not any(left[r] for r, o in owners.items() if o == owner):
                others.clear()
            else:
                others.append(first)
                assert len(set(others)) == len(others), f"{owner} waits while {others} go on"


@given(requests=REQUESTS, dropped=st.sets(st.integers(0, 7)), before=st.integers(0, 3))
def test_what_is_dropped_is_not_given_out(
    requests: list[tuple[str, list[int]]], dropped: set[int], before: int
) -> None:
    batcher = Batcher(50)
    fill(batcher, requests)
    for _ in range(before):
        batcher.next_batch()
    for number in dropped:
        batcher.drop(f"r{number}")
    after = {item.request_id for batch in drain(batcher) for item in batch}
    assert after.isdisjoint(f"r{number}" for number in dropped)


def test_similar_lengths_come_together_the_longest_first() -> None:
    batcher = Batcher(max_tokens=64)
    fill(batcher, [("", [1, 32, 2, 31, 16, 8, 30])])
    assert [[len(item.token_ids) for item in batch] for batch in drain(batcher)] == [[32, 31], [30, 16], [8], [2, 1]]


def test_short_requests_of_many_clients_share_a_batch() -> None:
    batcher = Batcher(max_tokens=64)
    fill(batcher, [(f"owner{i}", [8]) for i in range(8)])
    assert len(batcher.next_batch()) == 8


def test_a_query_passes_a_large_request_of_the_same_owner() -> None:
    batcher = Batcher(max_tokens=64)
    batcher.add(make_request("large", [[0] * 32] * 100))
    batcher.next_batch()
    batcher.add(make_request("query", [[0] * 4]))
    batches = [batcher.next_batch() for _ in range(2)]
    assert any(item.request_id == "query" for batch in batches for item in batch)


def test_owners_share_a_batch_evenly_however_many_requests_each_has() -> None:
    batcher = Batcher(max_tokens=100)
    fill(batcher, [("greedy", [10] * 50)] * 20 + [("modest", [10] * 50)])
    batch = batcher.next_batch()
    modest = [item for item in batch if item.request_id == "r20"]
    assert (len(batch), len(modest)) == (10, 5)


def test_the_background_comes_last() -> None:
    batcher = Batcher(8)
    fill(batcher, [(f"{BACKGROUND}a", [4, 4, 4]), ("b", [4, 4, 4])])
    assert [[item.request_id for item in batch] for batch in drain(batcher)] == [["r1", "r0"]] * 3
    fill(batcher, [(f"{BACKGROUND}a", [8, 8]), ("b", [8, 8])])
    assert [item.request_id for batch in drain(batcher) for item in batch] == ["r1", "r1", "r0", "r0"]
