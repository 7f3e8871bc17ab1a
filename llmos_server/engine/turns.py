"""How a step is shared among what runs: turns for all, then the least served owner first. No pages, no queues."""

from __future__ import annotations

from collections import Counter
from itertools import chain

from llmos_server.engine.cost_model import StepBudget
from llmos_server.engine.owners import Owners, rank
from llmos_server.engine.sequence import Sequence
from llmos_server.key_contracts import is_background

RESERVED_PARTS = 8
"""One in so many parts of a step goes to whoever has waited longest for a turn, no matter whose it is."""


class Turns:
    """Numbers the turns that sequences have had; owners tell what has been served to whom."""

    def __init__(self, owners: Owners) -> None:
        self._owners = owners
        self._num_turns = 0

    def share_out(self, running: list[Sequence], budget: StepBudget, extra_seconds: float) -> dict[Sequence, int]:
        """Tokens for running sequences, in two rounds: turns for all, then owners, the least served one first.

        Within an owner decodes come first, those that have waited longest in front, then prefills by rank. Where the
        one owner that is owed most waits for a first token, the step may take extra_seconds more for it, and is not
        filled up with the others' work; but not for a long prompt, to which many steps belong. What is asked in the
        background has the first round alone, as long as anything else runs.
        """

        def turn(sequence: Sequence) -> tuple[int, tuple[float, int, int]]:
            return sequence.last_turn, sequence.rank

        selected: dict[Sequence, int] = {}
        decodes = sorted((seq for seq in running if seq.num_uncomputed_tokens == 1), key=turn)
        prefills = sorted((seq for seq in running if seq.num_uncomputed_tokens > 1), key=rank)
        part = budget.split(RESERVED_PARTS)
        for sequence in sorted([*prefills[:1], *decodes], key=turn):
            _take(sequence, part, selected)
        budget.join(part)
        num_running = Counter(sequence.request.owner for sequence in running)
        order = sorted(num_running, key=lambda name: (self._owners.served(name), num_running[name], name))
        order = [name for name in order if not is_background(name)] or order  # The others have had their turns.
        for owner in order:
            own = [sequence for sequence in chain(decodes, prefills) if sequence.request.owner == owner]
            begins = any(sequence.num_output_tokens == 0 and not is_long(sequence, budget) for sequence in own)
            is_owed = len(order) > 1 and self._owners.served(owner) < self._owners.served(order[1])
            if is_owed and begins:
                budget.extend(extra_seconds)
            for sequence in own:
                _take(sequence, budget, selected)
            if is_owed and begins:
                budget.close()
        for sequence in selected:
            self._num_turns += 1
            sequence.last_turn = self._num_turns
        return selected


def _take(sequence: Sequence, budget: StepBudget, selected: dict[Sequence, int]) -> None:
    before = selected.get(sequence, 0)
    if granted := grant(sequence, budget, before):
        selected[sequence] = before + granted


def grant(sequence: Sequence, budget: StepBudget, before: int = 0) -> int:
    """How many of its next tokens this step computes, behind the `before` that it was granted already."""
    wanted, start = sequence.num_uncomputed_tokens - before, sequence.num_computed_tokens + before
    return budget.take(wanted, start, opens_chunk=not before, is_long=is_long(sequence, budget))


def is_long(sequence: Sequence, budget: StepBudget) -> bool:
    """Whether it is a long prefill: from its first step to its last it stays one."""
    num_tokens = len(sequence.token_ids) - sequence.num_cached_tokens
    return sequence.num_uncomputed_tokens > 1 and num_tokens > budget.long_from


def can_begin(sequence: Sequence, budget: StepBudget) -> bool:
    """Whether the step has anything left for it."""
    return budget.is_left and (budget.long_tokens > 0 or not is_long(sequence, budget))
