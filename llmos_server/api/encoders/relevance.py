"""How relevant texts are to others: by a cross-encoder's one output, or by the cosine of two embeddings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import UNSET

from llmos_server.api.encoders.encoding import run_encoder
from llmos_server.api.encoders.pair_inputs import Judged, encode_each, encode_pairs
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.context import TRUNCATED, response_headers
from llmos_server.api.schemas.relevance import RelevanceUsage
from llmos_server.api.served import ServedModel
from llmos_server.calibration.calibration import probabilities
from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import Activation, EncoderInfo
from llmos_server.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Relevance:
    """Of each pair, in order."""

    scores: list[float]
    usage: RelevanceUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """An Encodable."""

    ids: list[list[int]]
    second_starts: list[int]
    num_cut: int
    activation: Activation = "identity"
    places: dict[str, int]
    """Of each text among the inputs; none where they are pairs."""


async def judge(request: AnyRequest, served: ServedModel, judged: Judged) -> Relevance:
    """Raises InvalidRequest for a model that can't compare; else as the engine does. Cancelling gives it up."""
    inputs, vectors = await run_encoder(
        request, served, judged.num_chars, lambda info: _prepare(served.renderer, info, judged)
    )
    if judged.may_cut:
        response_headers(request)[TRUNCATED] = str(inputs.num_cut)
    if inputs.places:
        pairs = zip(judged.firsts, judged.seconds, strict=True)
        scores = [_cosine(vectors[inputs.places[a]], vectors[inputs.places[b]]) for a, b in pairs]
    else:
        scores = [activate(unpack(vector), inputs.activation)[0] for vector in vectors]
    num_tokens = sum(map(len, inputs.ids))
    cut = inputs.num_cut if judged.may_cut else UNSET
    return Relevance(
        scores=scores, usage=RelevanceUsage(prompt_tokens=num_tokens, total_tokens=num_tokens, truncated_inputs=cut)
    )


def activate(outputs: Sequence[float], activation: Activation) -> list[float]:
    """A classifier's outputs as probabilities, or as the score that they are."""
    if activation == "softmax":
        return probabilities(outputs)
    if activation == "sigmoid":
        return [sigmoid(output) for output in outputs]
    return list(outputs)


def sigmoid(value: float) -> float:
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))


def unpack(vector: bytes) -> list[float]:
    """vector: little-endian float32."""
    values: list[float] = np.frombuffer(vector, "<f4").tolist()
    return values


def _prepare(renderer: Renderer, info: EncoderInfo, judged: Judged) -> _Inputs:
    if not info.labels:
        if judged.use_activation is False:
            raise InvalidRequest(
                "use_activation: this model gives embeddings, which are compared by their cosine; there is no "
                "activation to leave out.",
                param="use_activation",
                code="unsupported_value",
            )
        ids, places, num_cut = encode_each(renderer, info, judged)
        return _Inputs(ids=ids, second_starts=[], num_cut=num_cut, places=places)
    if len(info.labels) != 1:
        raise InvalidRequest(
            f"This model tells {len(info.labels)} classes apart and gives no single score; send texts to "
            "/v1/classify, or name a cross-encoder with one output.",
            param="model",
            code="unsupported_value",
        )
    pairs = encode_pairs(renderer, info, judged)
    return _Inputs(
        ids=[pair.ids for pair in pairs],
        second_starts=[pair.second_start for pair in pairs],
        num_cut=sum(pair.is_cut for pair in pairs),
        activation="identity" if judged.use_activation is False else info.activation,
        places={},
    )


def _cosine(first: bytes, second: bytes) -> float:
    """In float64, so that no longer vector is needed to make a difference; 0 beside a vector of zeros."""
    a, b = np.frombuffer(first, "<f4").astype(np.float64), np.frombuffer(second, "<f4").astype(np.float64)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else 0.0
