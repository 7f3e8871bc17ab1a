"""Encoders and classifiers whose vectors tell what they are of."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Iterator
from typing import Any

from fake_renderer import ByteRenderer

from llmos_server.contracts import (
    EncodeRequest,
    EncoderInfo,
    EngineState,
)


class ScriptedEncoder:
    """An encoder whose vectors tell what they are of: [number of tokens, sum of tokens, first token, 1].

    gate: nothing is computed before it is set. error: what encode raises.
    """

    def __init__(self, *, max_input_tokens: int = 20, state: EngineState = "ready", **info: Any) -> None:
        self.state: EngineState = state
        self.info = EncoderInfo(
            model_digest="sha256:" + "cd" * 32,
            architecture="scripted",
            dtype="float32",
            device="cpu",
            vocab_size=ByteRenderer.vocab_size,
            max_input_tokens=max_input_tokens,
            num_dimensions=4,
            load_seconds=0.0,
            **info,
        )
        self.requests: list[EncodeRequest] = []
        self.cancelled = threading.Event()
        self.gate: asyncio.Event | None = None
        self.error: Exception | None = None
        self.num_holds = 0

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        self.num_holds += 1
        try:
            yield
        finally:
            self.num_holds -= 1

    @property
    def load_failure(self) -> str:
        return "The model could not be loaded: no tensors." if self.state == "failed" else ""

    async def wait_ready(self, timeout: float | None = None) -> EncoderInfo:
        assert self.num_holds, "the model might be evicted while it is waited for"
        return self.info

    async def encode(self, request: EncodeRequest) -> list[bytes]:
        assert self.num_holds, "the model might be evicted under its request"
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return [struct.pack("<4f", len(ids), sum(ids), ids[0], 1) for ids in request.inputs]


class ScriptedClassifier(ScriptedEncoder):
    """A classifier whose outputs depend on all tokens, and on where the second text begins; see output_of."""

    def __init__(self, *labels: str, activation: str = "softmax", **options: Any) -> None:
        super().__init__(labels=list(labels), activation=activation, **options)

    async def encode(self, request: EncodeRequest) -> list[bytes]:
        await super().encode(request)
        starts = request.second_starts or map(len, request.inputs)
        num = len(self.info.labels)
        return [
            struct.pack(f"<{num}f", *output_of(ids, start, num))
            for ids, start in zip(request.inputs, starts, strict=True)
        ]


def output_of(ids: list[int], second_start: int, num_labels: int) -> list[float]:
    weight = sum(place * token for place, token in enumerate(ids, 1)) + 7 * second_start
    return [weight * (label + 1) % 23 / 4 - 2 for label in range(num_labels)]
