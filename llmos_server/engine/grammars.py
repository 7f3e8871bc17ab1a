"""The grammars of an engine's requests, off the step's way: compiled before a request is queued, and asked for the next
token's masks while the forward pass computes. Both in threads, as the parser needs no GIL.
"""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import NamedTuple, Protocol

from llmos_server.contracts import GenerateRequest
from llmos_server.engine.sequence import Constraint, Mask, Sequence
from llmos_server.engine.step import StepPlan
from llmos_server.errors import InvalidRequest, LLMOSError

NO_GRAMMARS = "This engine follows no grammars; leave the constraint out."
BROKEN = (
    "The grammar of response_format, structured_outputs or tools can't be followed any further{reason}. Simplify it, "
    "above all what may stand at one place."
)


class Compiler(Protocol):
    """Text to a constraint at its start, which is only ever forked. `compile` is called in a thread of its own."""

    def find(self, text: str) -> Constraint | None:
        """One that has been compiled already."""
        ...

    def compile(self, text: str) -> Constraint:
        """Raises LLMOSError for a grammar that can't be used."""
        ...


class Prepared(NamedTuple):
    """A request whose grammar has been compiled, or can't be."""

    request: GenerateRequest
    arrival: float
    constraint: Constraint | None
    error: LLMOSError | None


class StepMasks:
    """Implements step.Masks, filled in a thread."""

    def __init__(self, filling: Future[dict[Sequence, list[Mask]]]) -> None:
        self._filling = filling

    def of(self, sequence: Sequence) -> list[Mask] | None:
        return None if sequence.constraint is None else self._filling.result()[sequence]


class Grammars:
    """Single-threaded, as EngineCore; the threads are its own. compiler: None refuses every grammar."""

    def __init__(self, compiler: Compiler | None) -> None:
        self._compiler = compiler
        self._waiting: dict[str, tuple[GenerateRequest, float, Future[Constraint]]] = {}
        self._compiling = ThreadPoolExecutor(1, thread_name_prefix="grammar-compile")
        self._filling = ThreadPoolExecutor(1, thread_name_prefix="grammar-mask")
        self.num_compiled = 0
        self.compile_seconds = 0.0
        """Of all that were compiled, failed ones included."""

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._waiting

    def __len__(self) -> int:
        """Requests that wait for their grammar."""
        return len(self._waiting)

    def find(self, text: str) -> Constraint | None:
        """One that is there already. Raises InvalidRequest where there are none at all."""
        if self._compiler is None:
            raise InvalidRequest(NO_GRAMMARS, code="unsupported_value")
        return self._compiler.find(text)

    def prepare(self, request: GenerateRequest, now: float) -> None:
        """Begin to compile; `take` tells when that is done."""
        future = self._compiling.submit(self._compile, request.sampling.grammar)
        self._waiting[request.request_id] = (request, now, future)

    def abort(self, request_id: str, index: int | None) -> None:
        """A request that waits for its grammar, all of it: a single choice ends when it has begun."""
        if index is None and request_id in self._waiting:
            self._waiting.pop(request_id)[2].cancel()

    def take(self, timeout: float = 0.0) -> list[Prepared]:
        """What has become ready, in the order of arrival. timeout: seconds to wait for at least one."""
        if timeout and self._waiting:
            wait([future for *_, future in self._waiting.values()], timeout, FIRST_COMPLETED)
        done = [entry for entry in self._waiting.values() if entry[2].done()]
        return [self._settle(*self._waiting.pop(request.request_id)) for request, *_ in done]

    def start(self, plan: StepPlan) -> StepMasks | None:
        """Begin to fill the masks of a step. Until it has been drawn, its constraints belong to the thread."""
        drawing = [
            (sequence, chunk.draft_ids)
            for chunk in plan.chunks
            for sequence in chunk.sample_for
            if sequence.constraint is not None
        ]
        return StepMasks(self._filling.submit(_fill, drawing)) if drawing else None

    def close(self) -> None:
        for pool in (self._compiling, self._filling):
            pool.shutdown(wait=False, cancel_futures=True)

    def _compile(self, text: str) -> Constraint:
        assert self._compiler is not None  # `find` has refused.
        started = time.monotonic()
        try:
            return self._compiler.compile(text)
        finally:
            self.num_compiled += 1
            self.compile_seconds += time.monotonic() - started

    def _settle(self, request: GenerateRequest, arrival: float, future: Future[Constraint]) -> Prepared:
        try:
            return Prepared(request, arrival, future.result(), None)
        except LLMOSError as error:
            return Prepared(request, arrival, None, error)


def describe_failure(sequence: Sequence) -> str | None:
    """Why nothing can be drawn for it, if that is its grammar's fault."""
    if sequence.constraint is None or not sequence.constraint.error:
        return None
    return BROKEN.format(reason=f" ({sequence.constraint.error})")


def _fill(drawing: list[tuple[Sequence, list[int]]]) -> dict[Sequence, list[Mask]]:
    masks = {}
    for sequence, draft_ids in drawing:
        assert sequence.constraint is not None
        masks[sequence] = sequence.constraint.masks(draft_ids, sequence.request.sampling.stop_token_ids)
    return masks
