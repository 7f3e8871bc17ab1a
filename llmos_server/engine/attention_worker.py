"""The process that computes one prompt's attention: `python -m llmos_server.engine.attention_worker`.

An AttentionJob as one line of JSON on stdin; on stdout an AttentionFound as one line of JSON, and behind it, unless it
is a failure, the numbers. It ends with the answer, or with its parent.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from llmos_server.contracts import ModelKind
from llmos_server.engine.memory import available_memory
from llmos_server.engine.process import end_with_parent
from llmos_server.errors import InvalidRequest, LLMOSError, UnsupportedModel

if TYPE_CHECKING:
    import torch

    from llmos_server.models.attention_maps import Maps

NICENESS = 10
"""Requests that are being served go first."""


class AttentionJob(msgspec.Struct, frozen=True, kw_only=True):
    folder: str
    """With config.json."""
    weights: list[str]
    kind: ModelKind
    token_ids: list[int]
    layer: int
    num_parameters: int
    threads: int


class AttentionFound(msgspec.Struct, frozen=True, kw_only=True):
    """failure: "" or why there is nothing, in words for the client; then param and code may tell more."""

    num_heads: int = 0
    """So many matrices of little-endian float32 follow, [tokens, tokens] each."""
    failure: str = ""
    param: str | None = None
    code: str | None = None


def main() -> int:
    """Returns the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the parent's to handle.
    os.nice(NICENESS)
    with os.fdopen(os.dup(1), "wb") as out, open(0, "rb", buffering=0, closefd=False) as stdin:
        os.dup2(2, 1)  # What libraries print is no answer.
        job = msgspec.json.decode(stdin.readline(), type=AttentionJob)
        end_with_parent()
        try:
            _write(out, job, compute(job))
        except LLMOSError as error:
            param, code = (error.param, error.code) if isinstance(error, InvalidRequest) else ("model", None)
            out.write(msgspec.json.encode(AttentionFound(failure=str(error), param=param, code=code)) + b"\n")
    return 0


def compute(job: AttentionJob) -> torch.Tensor:
    """float32 [heads, tokens, tokens]. Raises InvalidRequest for a layer that there isn't, UnsupportedModel."""
    num_layers = 0
    for num_layers, found in enumerate(_open(job), start=1):
        if num_layers == job.layer + 1:
            return found
    raise InvalidRequest(
        f"layer: the model has layers 0 to {num_layers - 1}, not {job.layer}.", param="layer", code="invalid_value"
    )


def _open(job: AttentionJob) -> Maps:
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


def _write(out: BinaryIO, job: AttentionJob, found: torch.Tensor) -> None:
    out.write(msgspec.json.encode(AttentionFound(num_heads=found.shape[0])) + b"\n")
    out.write(found.contiguous().numpy().astype("<f4", copy=False).tobytes())


if __name__ == "__main__":
    sys.exit(main())
