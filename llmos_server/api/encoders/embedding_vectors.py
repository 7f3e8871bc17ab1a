"""Embeddings as they leave the engine, cut to a length and in the form that the client asked for."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np

from llmos_server.api.schemas.embeddings import Embedding
from llmos_server.contracts import EncoderInfo
from llmos_server.errors import InvalidRequest


def check_dimensions(dimensions: int | None, info: EncoderInfo) -> None:
    """Raises InvalidRequest for a length that this model's embeddings can't be cut to.

    Only a model trained for it (Matryoshka representation learning, arXiv 2205.13147) puts what matters first; cutting
    another one's embeddings would quietly make them worse.
    """
    whole = info.num_dimensions
    if dimensions is None or dimensions == whole:
        return
    if not info.is_matryoshka or dimensions > whole:
        trained = "" if info.is_matryoshka else ", and it was not trained to give shorter ones"
        message = f"dimensions is {dimensions}; this model's embeddings have {whole}{trained}. Leave it out."
    elif info.matryoshka_dimensions and dimensions not in info.matryoshka_dimensions:
        known = ", ".join(map(str, info.matryoshka_dimensions))
        message = f"dimensions is {dimensions}; this model was trained for {known} and {whole}."
    else:
        return
    raise InvalidRequest(message, param="dimensions", code="unsupported_value")


def to_embeddings(vectors: Sequence[bytes], dimensions: int | None, *, as_base64: bool) -> list[Embedding]:
    """vectors: little-endian float32. What is cut is brought back to length 1."""
    if dimensions is not None and dimensions * 4 < len(vectors[0]):
        vectors = [_cut(vector, dimensions) for vector in vectors]
    return [
        Embedding(
            index=index,
            embedding=base64.b64encode(vector).decode() if as_base64 else np.frombuffer(vector, "<f4").tolist(),
        )
        for index, vector in enumerate(vectors)
    ]


def _cut(vector: bytes, dimensions: int) -> bytes:
    head = np.frombuffer(vector, "<f4", count=dimensions)
    norm = float(np.linalg.norm(head))
    return (head / np.float32(norm) if norm else head).astype("<f4").tobytes()
