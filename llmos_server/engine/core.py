"""The engine without its process: requests in, one step at a time, deltas out."""

from __future__ import annotations

import time
from collections.abc import Callable

from llmos_server.contracts import ChoiceDelta, EngineInfo, EngineStats, GenerateRequest
from llmos_server.engine.admission import check_request
from llmos_server.engine.scheduler import Scheduler
from llmos_server.engine.step import Runner
from llmos_server.errors import InvalidRequest


class EngineCore:
    """One loaded model. Single-threaded: add and abort are called between steps.

    clock: seconds, monotonic; orders the arrivals and times queue and prefill.
    """

    def __init__(
        self, scheduler: Scheduler, runner: Runner, info: EngineInfo, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._info = info
        self._clock = clock

    @property
    def has_work(self) -> bool:
        return self._scheduler.has_work

    def add(self, request: GenerateRequest) -> None:
        """Queue a request. Raises InvalidRequest when it can't be run."""
        if request.request_id in self._scheduler:
            raise InvalidRequest(f"A request with the id {request.request_id!r} is running already; take a new id.")
        check_request(request, self._info)
        self._scheduler.add(request, self._clock())

    def abort(self, request_id: str, index: int | None = None) -> None:
        """Stop one choice, or all of them when index is None. Ids that have finished are no error."""
        self._scheduler.abort(request_id, index)

    def step(self) -> list[ChoiceDelta]:
        """Advance every planned sequence; at most one delta per choice."""
        plan = self._scheduler.schedule(self._clock())
        if not plan.chunks:
            return []
        hidden = self._runner.forward(plan)
        result = self._runner.sample(plan, hidden)
        return self._scheduler.postprocess(plan, result, self._clock())

    def take_broken(self) -> list[str]:
        """Ids of the requests that ended since the last call because the model's numbers for them were not finite."""
        return self._scheduler.take_broken()

    def check_integrity(self) -> None:
        """Raise AssertionError that names a broken invariant of the page bookkeeping. For idle moments: O(pages)."""
        self._scheduler.check_integrity()

    def stats(self) -> EngineStats:
        return self._scheduler.stats()
