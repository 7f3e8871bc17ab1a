"""An encoder's engine without its process: requests in, one batch at a time, whole answers out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from llmos_server.contracts import EncodeRequest, EncoderInfo
from llmos_server.engine.batcher import Batcher, Item
from llmos_server.errors import InvalidRequest

log = logging.getLogger("llmos.worker")


MAX_FAILED_IN_ROW = 4


class EncoderRunner(Protocol):
    """Computes; knows nothing of requests."""

    def encode(self, inputs: Sequence[Sequence[int]], second_starts: Sequence[int]) -> list[bytes]:
        """One embedding, or classifier's output, an input: little-endian float32. second_starts: see Item."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's end. embeddings: None when the model can't compute it."""

    request_id: str
    embeddings: list[bytes] | None


@dataclass(slots=True)
class _Open:
    embeddings: list[bytes]
    num_missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.num_missing = len(self.embeddings)


class EncoderCore:
    """One loaded encoder. Single-threaded: add and abort are called between steps."""

    def __init__(self, batcher: Batcher, runner: EncoderRunner, info: EncoderInfo) -> None:
        self._batcher = batcher
        self._runner = runner
        self._info = info
        self._open: dict[str, _Open] = {}
        self._num_failed_in_row = 0

    @property
    def has_work(self) -> bool:
        return self._batcher.has_work

    def add(self, request: EncodeRequest) -> None:
        """Queue a request. Raises InvalidRequest when it can't be run; the API refuses the same earlier."""
        if request.request_id in self._open:
            raise InvalidRequest(f"A request with the id {request.request_id!r} is running already; take a new id.")
        _check(request, self._info)
        self._open[request.request_id] = _Open([b""] * len(request.inputs))
        self._batcher.add(request)

    def abort(self, request_id: str) -> None:
        """Forget a request. Ids that have finished are no error."""
        self._batcher.drop(request_id)
        self._open.pop(request_id, None)

    def step(self) -> list[Answer]:
        """Compute one batch; returns the requests that it completes, or that can't be computed.

        A failure ends no other request than the one that causes it. Raises when one input after the other fails, each
        alone: then it is the device that is broken, and the worker has to be started again.
        """
        answers = []
        for item, embedding in self._encode(self._batcher.next_batch()):
            request = self._open.get(item.request_id)
            if request is None:
                continue  # It broke in this same batch.
            if embedding is None or not np.isfinite(np.frombuffer(embedding, dtype="<f4")).all():
                self.abort(item.request_id)
                answers.append(Answer(item.request_id, None))
                continue
            request.embeddings[item.index] = embedding
            request.num_missing -= 1
            if not request.num_missing:
                del self._open[item.request_id]
                answers.append(Answer(item.request_id, request.embeddings))
        return answers

    def _encode(self, batch: list[Item]) -> Iterator[tuple[Item, bytes | None]]:
        """None for what can't be computed even alone."""
        if not batch:
            return
        try:
            embeddings = self._runner.encode([item.token_ids for item in batch], [item.second_start for item in batch])
        except Exception:
            log.exception("A batch of %d inputs could not be computed.", len(batch))
            if len(batch) == 1:
                self._num_failed_in_row += 1
                if self._num_failed_in_row >= MAX_FAILED_IN_ROW:
                    raise
                yield batch[0], None
            else:
                for item in batch:
                    yield from self._encode([item])
        else:
            self._num_failed_in_row = 0
            yield from zip(batch, embeddings, strict=True)


def _check(request: EncodeRequest, info: EncoderInfo) -> None:
    if not request.inputs:
        raise InvalidRequest("There is no input; send at least one.", param="input")
    if request.second_starts and len(request.second_starts) != len(request.inputs):
        raise InvalidRequest("second_starts has to hold a place for each input.", param="second_starts")
    for index, ids in enumerate(request.inputs):
        if not 1 <= len(ids) <= info.max_input_tokens:
            raise InvalidRequest(
                f"input[{index}] has {len(ids)} tokens; this model takes 1 to {info.max_input_tokens}.",
                param=f"input[{index}]",
            )
        if not (min(ids) >= 0 and max(ids) < info.vocab_size):
            raise InvalidRequest(
                f"input[{index}] holds an id that is no token of this model (0 to {info.vocab_size - 1}).",
                param=f"input[{index}]",
            )
