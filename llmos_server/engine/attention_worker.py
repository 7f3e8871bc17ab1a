"""The process that computes one prompt's attention: `python -m llmos_server.engine.attention_worker`.

On stdin an AttentionJob as one line of JSON, then a line for each layer that is wanted, its number. On stdout, for each
of these, an AttentionFound as one line of JSON, and behind it, unless it is a failure, the numbers. It ends with its
parent, or when that closes stdin.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from llmos_server.contracts import ModelKind
from llmos_server.engine.memory import available_memory
from llmos_server.errors import InvalidRequest, LLMOSError, UnsupportedModel

if TYPE_CHECKING:
    import torch

    from llmos_server.models.attention_maps import Maps

NICENESS = 10
"""Requests that are being served go first."""
MAX_KEPT_BYTES = 64 * 2**20
"""Of the layers that were computed, the last ones are kept below that: who goes to and fro computes each once."""


class AttentionJob(msgspec.Struct, frozen=True, kw_only=True):
    folder: str
    """With config.json."""
    weights: list[str]
    kind: ModelKind
    token_ids: list[int]
    num_parameters: int
    threads: int


class AttentionFound(msgspec.Struct, frozen=True, kw_only=True):
    """failure: "" or why there is nothing, in words for the client; then param and code may tell more."""

    num_heads: int = 0
    """So many matrices of little-endian float32 follow, [tokens, tokens] each."""
    failure: str = ""
    param: str | None = None
    code: str | None = None


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the parent's to handle.
    os.nice(NICENESS)
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(lines,), name="parent-watch", daemon=True).start()
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)  # What libraries print is no answer.
        job = msgspec.json.decode(lines.get(), type=AttentionJob)
        maps = KeptMaps(lambda: open_maps(job))
        while True:
            _answer(out, maps, int(lines.get()))
            out.flush()


def _listen(lines: SimpleQueue[bytes]) -> None:
    """Nobody would read the answer once stdin is closed, so what is being computed ends then, too."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        while line := stdin.readline():
            lines.put(line)
    os._exit(0)


def _answer(out: BinaryIO, maps: KeptMaps, layer: int) -> None:
    try:
        found = maps.get(layer)
    except LLMOSError as error:
        param, code = (error.param, error.code) if isinstance(error, InvalidRequest) else ("model", None)
        out.write(msgspec.json.encode(AttentionFound(failure=str(error), param=param, code=code)) + b"\n")
    else:
        out.write(msgspec.json.encode(AttentionFound(num_heads=found.shape[0])) + b"\n")
        out.write(found.contiguous().numpy().astype("<f4", copy=False).tobytes())


class KeptMaps:
    """Layers of one prompt in any order, of what is computed from the first one on."""

    def __init__(self, create: Callable[[], Maps], max_bytes: int = MAX_KEPT_BYTES) -> None:
        """create: begins anew."""
        self._create = create
        self._max_bytes = max_bytes
        self._maps: Maps | None = None
        self._num_computed = 0
        self._kept: dict[int, torch.Tensor] = {}

    def get(self, layer: int) -> torch.Tensor:
        """float32 [heads, tokens, tokens]. Raises InvalidRequest for a layer that there isn't, UnsupportedModel."""
        if layer in self._kept:
            return self._kept[layer]
        if self._maps is None or layer < self._num_computed:
            self._maps, self._num_computed = self._create(), 0
        for found in self._maps:
            self._keep(self._num_computed, found)
            self._num_computed += 1
            if self._num_computed == layer + 1:
                return found
        raise InvalidRequest(
            f"layer: the model has layers 0 to {self._num_computed - 1}, not {layer}.",
            param="layer",
            code="invalid_value",
        )

    def _keep(self, layer: int, found: torch.Tensor) -> None:
        self._kept[layer] = found
        while sum(kept.nbytes for kept in self._kept.values()) > self._max_bytes:
            del self._kept[next(iter(self._kept))]


def open_maps(job: AttentionJob) -> Maps:
    """Raises UnsupportedModel."""
    import torch

    from llmos_server.models.attention_maps import decoder_maps, encoder_maps, own_config, own_maps
    from llmos_server.models.weights import open_weights

    torch.set_num_threads(job.threads)
    folder, weights = Path(job.folder), [Path(path) for path in job.weights]
    config = own_config(folder) if job.kind == "decoder" else None
    if config is not None:
        return own_maps(config, open_weights(weights, config), job.token_ids)
    _require_memory(job)
    return (decoder_maps if job.kind == "decoder" else encoder_maps)(folder, weights, job.token_ids)


def _require_memory(job: AttentionJob) -> None:
    """For what is computed whole, in float32."""
    needed, there = 4 * job.num_parameters, available_memory()
    if needed > there:
        raise UnsupportedModel(
            f"Its architecture is computed by Transformers' code, which needs {needed} bytes for all of its weights; "
            f"{there} are free. Unload other models, or look at it on a larger machine."
        )


if __name__ == "__main__":
    main()
