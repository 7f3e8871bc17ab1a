"""Who has to give way: for a newcomer's place in the steps, or for pages. Changes nothing itself."""

from __future__ import annotations

from collections import Counter

from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.owners import rank
from llmos_server.engine.sequence import Sequence
from llmos_server.key_contracts import is_background

Place = tuple[bool, int, tuple[float, int, int]]


class Seats:
    def __init__(self, blocks: BlockManager, max_num_seqs: int) -> None:
        self._blocks = blocks
        self._max_num_seqs = max_num_seqs

    def are_full_for(self, head: Sequence, running: list[Sequence]) -> bool:
        num_missing = self._blocks.num_missing_pages(head, use_cache=head.uses_cache)
        return num_missing > 0 or len(running) >= self._max_num_seqs

    def victims_for(self, head: Sequence, running: list[Sequence], num_running: Counter[str]) -> list[Sequence] | None:
        """Who has to give way so that it can start, from the background, then from the owners with most; None when that
        isn't fair or enough.

        Fair is what leaves its owner at least as many places as the newcomer then has, and what takes one from the
        background. So no exchange is ever undone.
        """
        counts = num_running.copy()
        growing = sum(self._blocks.num_pages_for(seq.num_computed_tokens + 1) > len(seq.pages) for seq in running)
        num_missing = self._blocks.num_missing_pages(head, use_cache=head.uses_cache) + growing
        victims: list[Sequence] = []
        candidates = sorted(running, key=rank)
        behind = [sequence for sequence in candidates if is_background(sequence.request.owner)]
        while num_missing > 0 or len(running) - len(victims) >= self._max_num_seqs:
            most = max(counts.values())
            if not behind and most < counts[head.request.owner] + 2:
                return None
            last = (sequence for sequence in reversed(candidates) if counts[sequence.request.owner] == most)
            victim = behind.pop() if behind else next(last)
            candidates.remove(victim)
            victims.append(victim)
            counts[victim.request.owner] -= 1
            num_missing -= self._blocks.num_sole_pages(victim)
        return victims


def places_of(running: list[Sequence]) -> dict[Sequence, Place]:
    """(is of the background, place within its owner, rank) of each running sequence, a total order."""
    numbers: Counter[str] = Counter()
    places = {}
    for sequence in sorted(running, key=rank):
        owner = sequence.request.owner
        places[sequence] = (is_background(owner), numbers[owner], sequence.rank)
        numbers[owner] += 1
    return places
