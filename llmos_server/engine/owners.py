"""Who waits, and who has had how much: each owner's queue and its account of served tokens. No tensors, no pages."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Mapping

from llmos_server.engine.sequence import Sequence
from llmos_server.key_contracts import is_background

DECODE_WEIGHT = 2
"""What a generated token counts against a prompt token, in an owner's account: it is the dearer one to compute."""
BURST_TOKENS = 2048.0
"""What an owner who comes back may be ahead with. Without it, whoever asks once in a while would get its prompt
computed at half the speed beside somebody who asks without a pause, although it takes far less than half."""


class Owners:
    """One queue an owner, in the order of rank, and one account.

    An account counts the tokens that were computed for its owner since the engine was idle. Whoever comes back is
    lifted to the level, less a burst, so that nobody saves up more by staying away (the virtual token counter of
    "Fairness in Serving Large Language Models", Sheng et al., OSDI 2024; the burst is ours). The level is the most that
    the least served of those who were there has had at such a moment; it never falls, or each of several that come one
    after the other would be let in ahead of the one before, and who waits already would see them all pass.
    """

    def __init__(self) -> None:
        self._queues: dict[str, list[Sequence]] = {}
        self._served: dict[str, float] = {}
        self._num_requests: Counter[str] = Counter()
        self._level = 0.0

    @property
    def num_waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    def enter(self, owner: str) -> None:
        """A request of this owner has come."""
        if not self._num_requests[owner]:
            active = (self._served[other] for other, num in self._num_requests.items() if num)
            self._level = max(self._level, min(active, default=0.0))
            floor = self._level - BURST_TOKENS if self._num_requests else 0.0
            self._served = {
                other: served
                for other, served in self._served.items()
                if self._num_requests[other] or served > floor  # Others would be lifted to it anyway.
            }
            self._served[owner] = max(self._served.get(owner, 0.0), floor)
        self._num_requests[owner] += 1

    def leave(self, owner: str) -> None:
        """A request of this owner is over."""
        self._num_requests[owner] -= 1
        if not self._num_requests[owner]:
            del self._num_requests[owner]
        if not self._num_requests:
            self._served.clear()
            self._level = 0.0

    def charge(self, owner: str, num_tokens: int, *, is_decode: bool) -> None:
        self._served[owner] += num_tokens * (DECODE_WEIGHT if is_decode else 1)

    def served(self, owner: str) -> float:
        return self._served[owner]

    def wait(self, sequence: Sequence) -> None:
        insort(self._queues.setdefault(sequence.request.owner, []), sequence, key=rank)

    def __contains__(self, sequence: Sequence) -> bool:
        queue, place = self._find(sequence)
        return place < len(queue) and queue[place] is sequence

    def __iter__(self) -> Iterator[Sequence]:
        for queue in self._queues.values():
            yield from queue

    def remove(self, sequence: Sequence) -> None:
        queue, place = self._find(sequence)
        del queue[place]
        if not queue:
            del self._queues[sequence.request.owner]

    def replace(self, sequence: Sequence, heir: Sequence) -> None:
        """heir: another choice of the same request, so that the queue stays sorted."""
        queue, place = self._find(sequence)
        queue[place] = heir

    def heads(self, num_running: Mapping[str, int]) -> list[Sequence]:
        """The best ranked waiting sequence of every owner: first those of owners with the fewest sequences running,
        among equals those of the least served, then by rank. What is asked in the background comes behind all others.
        """

        def order(head: Sequence) -> tuple[bool, int, float, tuple[float, int, int]]:
            owner = head.request.owner
            return is_background(owner), num_running[owner], self._served[owner], head.rank

        return sorted((queue[0] for queue in self._queues.values()), key=order)

    def _find(self, sequence: Sequence) -> tuple[list[Sequence], int]:
        queue = self._queues.get(sequence.request.owner, [])
        return queue, bisect_left(queue, sequence.rank, key=rank)


def rank(sequence: Sequence) -> tuple[float, int, int]:
    return sequence.rank
