"""What steps bring, sent to the API process: each step by itself, or what several short ones bring together."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from llmos_server.contracts import ChoiceDelta, EngineStats
from llmos_server.engine.core import EngineCore
from llmos_server.engine.messages import StepOutput


class StepReports:
    """A report wakes the API process and each client that reads, which on few cores take them from the next step. So
    tokens of answers that are under way may wait for those of the next step, for less than two intervals in all.
    Whatever else there is to tell leaves at once, and what waits leaves with it.
    """

    def __init__(
        self,
        send: Callable[[StepOutput], None],
        epoch: int,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """interval: seconds; 0 makes each step a report."""
        self._send = send
        self._epoch = epoch
        self._interval = interval
        self._clock = clock
        self._held: dict[tuple[str, int], ChoiceDelta] = {}
        self._last = clock()

    def add(self, deltas: list[ChoiceDelta], core: EngineCore) -> None:
        """After each step: what it brought."""
        for delta in deltas:
            key = (delta.request_id, delta.index)
            self._held[key] = _joined(self._held[key], delta) if key in self._held else delta
        broken, stats = core.take_broken(), core.stats()
        can_wait = (
            core.has_work
            and bool(deltas)
            and not broken
            and not stats.num_waiting
            and len(deltas) == stats.num_running  # The next step computes no prompt: it is as short as this one.
            and not any(_is_urgent(delta) for delta in deltas)
            and self._clock() - self._last < self._interval
        )
        if not can_wait:
            self._report(broken, stats)

    def flush(self, core: EngineCore) -> None:
        """Before a step that may be long."""
        if self._held:
            self._report(core.take_broken(), core.stats())

    def _report(self, broken: list[str], stats: EngineStats) -> None:
        deltas, self._held = list(self._held.values()), {}
        self._send(StepOutput(epoch=self._epoch, deltas=deltas, stats=stats, broken=broken))
        self._last = self._clock()


def _is_urgent(delta: ChoiceDelta) -> bool:
    """Whether it opens a request, or ends a choice."""
    return delta.finish_reason is not None or delta.queue_seconds is not None


def _joined(first: ChoiceDelta, second: ChoiceDelta) -> ChoiceDelta:
    """first: not urgent, so it has tokens and their log-probabilities only."""
    logprobs = None if first.logprobs is None or second.logprobs is None else first.logprobs + second.logprobs
    return msgspec.structs.replace(second, token_ids=first.token_ids + second.token_ids, logprobs=logprobs)
