"""One request in flight, seen from the API process: a queue of deltas that ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llmos_server.contracts import ChoiceDelta, GenerateRequest


class EngineGeneration:
    """Implements contracts.Generation. The client feeds it, one consumer iterates it.

    on_abort(generation, index): tells the engine; called after the choices were closed here, if any were open.
    """

    def __init__(self, request: GenerateRequest, on_abort: Callable[[EngineGeneration, int | None], None]) -> None:
        self.request_id = request.request_id
        self.has_begun = False
        self.is_given = bool(request.continuations)
        """Its answers are part of the request."""
        self._on_abort = on_abort
        self._open = set(range(request.n))
        self._arrived: list[ChoiceDelta] = []
        self._num_tokens = [0] * request.n
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether the engine still owes it something."""
        return bool(self._open) and self._error is None

    def __aiter__(self) -> EngineGeneration:
        return self

    async def __anext__(self) -> list[ChoiceDelta]:
        while not self._arrived and self.is_open:
            self._changed.clear()
            await self._changed.wait()
        if self._arrived:
            deltas, self._arrived = self._arrived, []
            return deltas
        if self._error is not None and self._open:
            raise self._error
        raise StopAsyncIteration

    def abort(self, index: int | None = None) -> None:
        stopped = self._open if index is None else self._open & {index}
        if not stopped:
            return
        was_open = self.is_open
        self._open = self._open - stopped
        self._changed.set()
        if was_open:
            self._on_abort(self, index)

    def feed(self, delta: ChoiceDelta) -> None:
        """Deltas of choices that were aborted in the meantime are dropped."""
        if delta.index not in self._open:
            return
        self._arrived.append(delta)
        self._num_tokens[delta.index] += len(delta.token_ids)
        if delta.finish_reason is not None:
            self._open.discard(delta.index)
        self._changed.set()

    def num_tokens(self, index: int) -> int:
        """Tokens of one choice so far."""
        return self._num_tokens[index]

    def fail(self, error: Exception) -> None:
        """What has arrived is delivered first, then the error is raised."""
        self._error = error
        self._changed.set()
