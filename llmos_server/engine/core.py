"""The engine without its process: requests in, one step at a time, deltas out."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from llmos_server.adapter_contracts import LoadedAdapter
from llmos_server.contracts import ChoiceDelta, EngineInfo, EngineStats, GenerateRequest, PageLayout
from llmos_server.engine.adapters import NO_ADAPTERS, Adapters
from llmos_server.engine.admission import check_request
from llmos_server.engine.grammars import Compiler, Grammars, describe_failure
from llmos_server.engine.pool import Pool
from llmos_server.engine.scheduler import Scheduler
from llmos_server.engine.step import Runner, StepPlan
from llmos_server.errors import InvalidRequest

COMPILE_WAIT = 0.005
"""Seconds that an engine with nothing else to do waits for a grammar, or an adapter, before it looks for commands."""


class EngineCore:
    """One loaded model. Single-threaded: add and abort are called between steps.

    clock: seconds, monotonic; orders the arrivals and times queue and prefill. compiler: of grammars; None refuses
    requests that have one; so, too, adapters.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        runner: Runner,
        info: EngineInfo,
        clock: Callable[[], float] = time.monotonic,
        compiler: Compiler | None = None,
        adapters: Adapters | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._runner = runner
        self._info = info
        self._clock = clock
        self._grammars = Grammars(compiler)
        self._adapters = adapters
        self._pool = Pool(scheduler.blocks, runner, scheduler.blocks.num_pages_for(info.max_model_len))
        self._failed: dict[str, InvalidRequest] = {}
        self.on_begin: Callable[[list[str]], None] = lambda _: None
        """Called before a step, with the ids of the requests that it is the first one of."""
        self.on_resize: Callable[[], None] = lambda: None
        """Called when the pool of pages has become what resize_pool() wanted."""

    @property
    def has_work(self) -> bool:
        is_loading = self._adapters is not None and self._adapters.has_work
        return self._scheduler.has_work or len(self._grammars) > 0 or is_loading or self._pool.has_work

    def add(self, request: GenerateRequest) -> None:
        """Queue a request; one whose adapter isn't there or whose grammar isn't known, as soon as that has been loaded
        or compiled. Raises InvalidRequest when it can't be run."""
        if self._is_open(request.request_id) or (self._adapters and request.request_id in self._adapters):
            raise InvalidRequest(f"A request with the id {request.request_id!r} is running already; take a new id.")
        check_request(request, self._info)
        now = self._clock()
        if request.adapter:
            if self._adapters is None:
                raise InvalidRequest(NO_ADAPTERS, code="unsupported_value")
            if not self._adapters.enter(request, now):
                return
        self._queue(request, now)

    def _queue(self, request: GenerateRequest, now: float) -> None:
        """As soon as its grammar is known. Raises InvalidRequest where there are none at all."""
        grammar = request.sampling.grammar
        constraint = self._grammars.find(grammar) if grammar else None
        if grammar and constraint is None:
            self._grammars.prepare(request, now)
        else:
            self._scheduler.add(request, now, constraint)

    def abort(self, request_id: str, index: int | None = None) -> None:
        """Stop one choice, or all of them when index is None. Ids that have finished are no error."""
        if self._adapters:
            self._adapters.abort(request_id, index)
        self._grammars.abort(request_id, index)
        self._scheduler.abort(request_id, index)

    def step(self) -> list[ChoiceDelta]:
        """Advance every planned sequence; at most one delta per choice."""
        if self._pool.has_work and self._pool.work(self._scheduler.running):
            self.on_resize()
        patience = 0.0 if self._scheduler.has_work or self._pool.has_work else COMPILE_WAIT
        if self._adapters:
            self._adapters.release(self._is_open)
            self._queue_adapted(self._adapters, patience)
        self._queue_prepared(patience)
        plan = self._scheduler.schedule(self._clock())
        if begun := self._scheduler.take_begun():
            self.on_begin(begun)
        if not plan.chunks:
            return []
        plan.masks = self._grammars.start(plan)
        hidden = self._runner.forward(plan)
        result = self._runner.sample(plan, hidden)
        if plan.masks is not None:
            self._note_failures(plan)
        return self._scheduler.postprocess(plan, result, self._clock())

    def take_broken(self) -> list[str]:
        """Ids of the requests that ended since the last call because the model's numbers for them were not finite."""
        return [request_id for request_id in self._scheduler.take_broken() if request_id not in self._failed]

    def take_failed(self) -> dict[str, InvalidRequest]:
        """By request id, why requests ended since the last call by their grammar's fault. Call it after take_broken."""
        failed, self._failed = self._failed, {}
        return failed

    def check_integrity(self) -> None:
        """Raise AssertionError that names a broken invariant of the page bookkeeping. For idle moments: O(pages)."""
        self._scheduler.check_integrity()

    def stats(self) -> EngineStats:
        stats = self._scheduler.stats()
        num_loading = self._adapters.num_waiting if self._adapters else 0
        return msgspec.structs.replace(
            stats,
            num_waiting=stats.num_waiting + len(self._grammars) + num_loading,
            num_grammars=self._grammars.num_compiled,
            grammar_seconds=self._grammars.compile_seconds,
            num_cached_pages=self._scheduler.blocks.num_cached_pages,
            num_shared_pages=self._scheduler.blocks.num_shared_pages,
            adapters=self._adapters.stats() if self._adapters else stats.adapters,
        )

    def map_pages(self) -> PageLayout:
        """For those who look on: O(pages)."""
        return PageLayout(self.stats(), self._scheduler.blocks.page_map())

    def resize_pool(self, num_pages: int) -> None:
        """How many of the pages that were laid out there may be; at least as many as the longest sequence needs."""
        self._pool.resize(num_pages)

    def release_unused(self) -> None:
        """See Pool.release_unused: for idle moments."""
        self._pool.release_unused()

    def load_adapter(self, digest: str) -> None:
        """Without a request; take_adapter_changes() tells how it ended."""
        if self._adapters:
            self._adapters.load(digest)

    def drop_adapter(self, digest: str) -> None:
        """As soon as nobody uses it."""
        if self._adapters:
            self._adapters.release(self._is_open)
            self._adapters.drop(digest)

    def take_adapter_changes(self) -> tuple[list[LoadedAdapter], dict[str, str]] | None:
        """See Adapters.take_changes."""
        return self._adapters.take_changes() if self._adapters else None

    def close(self) -> None:
        self._grammars.close()
        if self._adapters:
            self._adapters.close()

    def _is_open(self, request_id: str) -> bool:
        return request_id in self._scheduler or request_id in self._grammars

    def _queue_adapted(self, adapters: Adapters, timeout: float) -> None:
        for request, arrival, error in adapters.take(timeout):
            try:
                if error is not None:
                    raise error
                self._queue(request, arrival)
            except InvalidRequest as refusal:
                self._failed[request.request_id] = refusal

    def _queue_prepared(self, timeout: float) -> None:
        for request, arrival, constraint, error in self._grammars.take(timeout):
            if error is None:
                self._scheduler.add(request, arrival, constraint)
            else:
                code = error.code if isinstance(error, InvalidRequest) else None
                self._failed[request.request_id] = InvalidRequest(str(error), code=code)

    def _note_failures(self, plan: StepPlan) -> None:
        """Their sequences have drawn nothing, so the scheduler ends them."""
        for sequence in [choice for chunk in plan.chunks for choice in chunk.sample_for]:
            if message := describe_failure(sequence):
                self._failed[sequence.request.request_id] = InvalidRequest(message, code="invalid_grammar")
