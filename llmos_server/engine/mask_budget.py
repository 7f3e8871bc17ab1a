"""How much processor time the masks of one sequence may take: all streams of a step wait for the slowest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MEAN_SECONDS = 0.01
"""Of a mask, in the long run. Ordinary ones take a tenth of a millisecond or two."""
BURST_SECONDS = 1.0
"""On top: what a lexer learns at its first masks, it knows later."""


class MaskBudget:
    """clock: seconds of the calling thread's own work, so that a busy machine is nobody's fault."""

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._left = BURST_SECONDS

    def fork(self) -> MaskBudget:
        return MaskBudget(self._clock)

    @property
    def is_spent(self) -> bool:
        return self._left < 0

    def run(self, work: Callable[[], T]) -> T:
        """Its result; what it took is paid."""
        started = self._clock()
        try:
            return work()
        finally:
            self._left += MEAN_SECONDS - (self._clock() - started)
