"""A scripted encoder without torch. As a script it is an encoder's worker around it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import numpy as np

from llmos_server.contracts import EncodeRequest, EncoderInfo
from llmos_server.engine.encoder_worker import main
from llmos_server.engine.messages import EncoderConfig
from llmos_server.errors import UnsupportedModel

VOCAB_SIZE, NUM_DIMENSIONS, MAX_TOKENS = 50, 3, 16
CRASH_TOKEN, NAN_TOKEN, DEATH_TOKEN, SLOW_TOKEN = 49, 48, 47, 46


def embedding_of(ids: Sequence[int]) -> bytes:
    """Another one for another order or length."""
    weighted = sum(place * token for place, token in enumerate(ids, 1))
    return np.array([len(ids), sum(ids), weighted], dtype="<f4").tobytes()


def expected(request: EncodeRequest) -> list[bytes]:
    return [embedding_of(ids) for ids in request.inputs]


class ScriptedEncoder:
    """Remembers its batches. Tokens script it: CRASH_TOKEN raises, NAN_TOKEN computes no number, DEATH_TOKEN ends the
    process, SLOW_TOKEN takes a while."""

    def __init__(self) -> None:
        self.batches: list[list[list[int]]] = []

    def encode(self, inputs: Sequence[Sequence[int]], second_starts: Sequence[int]) -> list[bytes]:
        self.batches.append([list(ids) for ids in inputs])
        tokens = {token for ids in inputs for token in ids}
        if DEATH_TOKEN in tokens:
            os._exit(3)
        if SLOW_TOKEN in tokens:
            time.sleep(0.02)
        if CRASH_TOKEN in tokens:
            raise RuntimeError("scripted crash")
        nan = np.full(NUM_DIMENSIONS, np.nan, dtype="<f4").tobytes()
        return [nan if NAN_TOKEN in ids else embedding_of(ids) for ids in inputs]


def make_info() -> EncoderInfo:
    return EncoderInfo(
        model_digest="sha256:0",
        architecture="Scripted",
        dtype="float32",
        device="cpu",
        vocab_size=VOCAB_SIZE,
        max_input_tokens=MAX_TOKENS,
        num_dimensions=NUM_DIMENSIONS,
        load_seconds=0.0,
    )


def make_request(request_id: str, inputs: list[list[int]], owner: str = "") -> EncodeRequest:
    return EncodeRequest(request_id=request_id, inputs=inputs, owner=owner)


def create_scripted_encoder(config: EncoderConfig) -> tuple[ScriptedEncoder, EncoderInfo]:
    if config.model_digest == "unsupported":
        raise UnsupportedModel("Scripted encoders of this kind can't be served; choose another.")
    return ScriptedEncoder(), make_info()


if __name__ == "__main__":
    sys.exit(main(create_scripted_encoder))
