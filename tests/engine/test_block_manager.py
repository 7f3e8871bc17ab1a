from __future__ import annotations

import pytest
from engine_fakes import make_request

from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.sequence import Sequence

PAGE = 4


def make_blocks(num_pages: int = 8, *, caching: bool = True) -> BlockManager:
    return BlockManager(num_pages, PAGE, model_digest="sha256:a", prefix_caching=caching)


def make_sequence(token_ids: list[int], salt: str = "") -> Sequence:
    return Sequence(request=make_request("r", token_ids, cache_salt=salt), index=0, arrival=0.0)


def compute(blocks: BlockManager, sequence: Sequence) -> Sequence:
    assert blocks.allocate(sequence)
    sequence.num_computed_tokens = len(sequence.token_ids)
    blocks.register(sequence)
    return sequence


def test_pages_are_all_or_nothing() -> None:
    blocks = make_blocks(num_pages=3)
    first, second = make_sequence([1] * 8), make_sequence([2] * 8)
    assert blocks.allocate(first)
    assert not blocks.allocate(second)
    assert second.pages == []
    assert blocks.num_free_pages == 1
    assert blocks.grow(first, 12)
    assert not blocks.grow(first, 13)
    blocks.check_integrity([first, second])


def test_hit_leaves_one_token_to_compute() -> None:
    blocks = make_blocks()
    first = compute(blocks, make_sequence(list(range(8))))
    again, longer = make_sequence(list(range(8))), make_sequence(list(range(9)))
    assert blocks.allocate(again)
    assert again.num_computed_tokens == 4
    assert blocks.allocate(longer)
    assert longer.num_computed_tokens == 8
    assert longer.pages[:2] == first.pages
    blocks.check_integrity([first, again, longer])


def test_only_computed_pages_are_found() -> None:
    blocks = make_blocks()
    first, second = make_sequence(list(range(12))), make_sequence(list(range(12)))
    assert blocks.allocate(first)
    first.num_computed_tokens = 6
    blocks.register(first)
    assert blocks.allocate(second)
    assert second.num_computed_tokens == 4


def test_other_salt_model_or_history_is_no_hit() -> None:
    blocks = make_blocks(num_pages=32)
    compute(blocks, make_sequence([1] * 8))
    for other in (make_sequence([1] * 9, salt="tenant"), make_sequence([2] * 4 + [1] * 5)):
        assert blocks.allocate(other)
        assert other.num_computed_tokens == 0
    first, second = (BlockManager(4, PAGE, model_digest=digest) for digest in ("sha256:a", "sha256:b"))
    sequences = [compute(manager, make_sequence([1] * 4)) for manager in (first, second)]
    assert sequences[0].page_digests != sequences[1].page_digests


def test_freed_pages_stay_cached_until_needed() -> None:
    blocks = make_blocks(num_pages=4)
    first = compute(blocks, make_sequence(list(range(8))))
    pages = first.pages
    blocks.free(first)
    assert blocks.num_free_pages == 4
    filler = make_sequence([9] * 8)
    assert blocks.allocate(filler)
    assert not set(filler.pages) & set(pages), "free pages are taken before cached ones"
    again = make_sequence(list(range(9)))
    assert not blocks.allocate(again), "cached pages that it would revive are not free for its other tokens"
    blocks.check_integrity([filler, again])
    blocks.free(filler)
    assert blocks.allocate(again)
    assert again.num_computed_tokens == 8


def test_tail_is_evicted_before_its_parents() -> None:
    blocks = make_blocks(num_pages=3)
    blocks.free(compute(blocks, make_sequence(list(range(12)))))
    filler = make_sequence([9] * 4)
    assert blocks.allocate(filler)
    again = make_sequence(list(range(12)))
    blocks.free(filler)
    assert blocks.allocate(again)
    assert again.num_computed_tokens == 8


def test_least_recently_used_chain_is_evicted_first() -> None:
    blocks = make_blocks(num_pages=4)
    old, new = make_sequence([1] * 8), make_sequence([2] * 8)
    compute(blocks, old)
    compute(blocks, new)
    blocks.free(new)
    blocks.free(old)
    assert blocks.allocate(make_sequence([9] * 8))
    found = make_sequence([1] * 8)
    assert blocks.allocate(found)
    assert found.num_computed_tokens == 4


def test_page_computed_twice_is_kept_once() -> None:
    blocks = make_blocks()
    first, second = make_sequence([1] * 6), make_sequence([1] * 6)
    assert blocks.allocate(first)
    assert blocks.allocate(second)
    for sequence in (first, second):
        sequence.num_computed_tokens = 6
        blocks.register(sequence)
    assert first.pages[0] == second.pages[0]
    assert first.pages[1] != second.pages[1]
    assert blocks.num_free_pages == 5
    blocks.check_integrity([first, second])


def test_fork_shares_full_pages_and_copies_the_partial_one() -> None:
    blocks = make_blocks()
    parent, child = compute(blocks, make_sequence([1] * 6)), make_sequence([1] * 6)
    assert blocks.fork(parent, child)
    assert child.pages[0] == parent.pages[0]
    assert blocks.page_copies == [(parent.pages[1], child.pages[1])]
    source = parent.pages[1]
    blocks.free(parent)
    blocks.check_integrity([child])
    assert blocks.num_free_pages == 5, "the source lives until the copy has been carried out"
    blocks.finish_step()
    assert blocks.num_free_pages == 6
    assert source not in child.pages
    blocks.check_integrity([child])


def test_fork_on_a_page_boundary_copies_nothing() -> None:
    blocks = make_blocks(num_pages=2)
    parent, child = compute(blocks, make_sequence([1] * 8)), make_sequence([1] * 8)
    assert blocks.fork(parent, child)
    assert blocks.page_copies == []
    assert child.pages == parent.pages


def test_fork_without_a_free_page_changes_nothing() -> None:
    blocks = make_blocks(num_pages=2)
    parent, child = compute(blocks, make_sequence([1] * 6)), make_sequence([1] * 6)
    assert not blocks.fork(parent, child)
    assert child.pages == []
    blocks.check_integrity([parent, child])


def test_copy_for_a_freed_child_is_dropped() -> None:
    blocks = make_blocks()
    parent, child = compute(blocks, make_sequence([1] * 6)), make_sequence([1] * 6)
    assert blocks.fork(parent, child)
    blocks.free(child)
    assert blocks.page_copies == []
    blocks.free(parent)
    assert blocks.num_free_pages == 8
    blocks.check_integrity([])


def test_without_prefix_caching_nothing_is_kept() -> None:
    blocks = make_blocks(caching=False)
    first = compute(blocks, make_sequence([1] * 8))
    second = make_sequence([1] * 9)
    assert blocks.allocate(second)
    assert second.num_computed_tokens == 0
    blocks.free(first)
    blocks.check_integrity([second])


def test_look_up_can_be_skipped() -> None:
    blocks = make_blocks()
    first = compute(blocks, make_sequence([1] * 8))
    second = make_sequence([1] * 9)
    assert blocks.allocate(second, use_cache=False)
    assert second.num_computed_tokens == 0
    assert not set(first.pages) & set(second.pages)


@pytest.mark.parametrize(
    ("damage", "invariant"),
    [
        (lambda sequence: sequence.pages.pop(), "reference count"),
        (lambda sequence: sequence.pages.append(sequence.pages[0]), "reference count"),
        (lambda sequence: setattr(sequence, "num_computed_tokens", 9), "computed more"),
        (lambda sequence: setattr(sequence, "num_registered_pages", 0), "not registered"),
    ],
)
def test_integrity_check_names_what_is_broken(damage, invariant) -> None:
    blocks = make_blocks()
    sequence = compute(blocks, make_sequence([1] * 8))
    damage(sequence)
    with pytest.raises(AssertionError, match=invariant):
        blocks.check_integrity([sequence])


def test_leaked_page_is_named() -> None:
    blocks = make_blocks()
    sequence = compute(blocks, make_sequence([1] * 8))
    with pytest.raises(AssertionError, match="reference count"):
        blocks.check_integrity([])
    blocks.check_integrity([sequence])


def test_pages_are_cleared_for_their_next_owner() -> None:
    blocks = make_blocks(num_pages=3)
    first = compute(blocks, make_sequence([1] * 8))
    assert blocks.page_clears == sorted(first.pages)
    blocks.finish_step()
    assert blocks.grow(first, 9)
    assert blocks.page_clears == [first.pages[2]]
    blocks.finish_step()
    blocks.free(first)
    again = make_sequence([1] * 9)
    assert blocks.allocate(again)
    assert again.num_computed_tokens == 8
    assert blocks.page_clears == [again.pages[2]]  # Not those that were found in the cache.


def test_a_page_that_is_copied_to_is_not_cleared() -> None:
    blocks = make_blocks()
    parent, child = compute(blocks, make_sequence(list(range(6)))), make_sequence(list(range(6)))
    blocks.finish_step()
    assert blocks.fork(parent, child)
    assert blocks.page_clears == []


def test_the_map_has_a_letter_for_each_page() -> None:
    blocks = make_blocks(8)
    parent = compute(blocks, make_sequence(list(range(9))))
    assert blocks.page_map() == "uuu....."
    assert blocks.num_shared_pages == 0
    child = make_sequence(list(range(9)))
    assert blocks.allocate(child)
    assert blocks.page_map() == "ssuu...."
    assert blocks.num_shared_pages == 2
    blocks.free(parent)
    assert blocks.page_map() == "uu.u...."
    assert blocks.num_shared_pages == 0
    blocks.free(child)
    assert blocks.page_map() == "cc......"
    assert blocks.num_cached_pages == 2
