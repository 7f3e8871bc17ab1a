"""What a classifier finds in texts: one call of a skill's, charged and booked as a request is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from llmos_server.access.limits import Lease
from llmos_server.api.encoders.encoding import run_encoder
from llmos_server.api.encoders.relevance import activate, unpack
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.served import ServedModel
from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import EncoderInfo
from llmos_server.errors import InvalidRequest
from llmos_server.skills.context import Classified


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """An Encodable."""

    ids: list[list[int]]
    info: EncoderInfo
    second_starts: list[int] = field(default_factory=list)


async def classify_texts(
    request: AnyRequest, served: ServedModel, texts: Sequence[str], lease: Lease
) -> tuple[list[Classified], int]:
    """With the number of tokens. Raises as /v1/classify does."""
    num_chars = sum(map(len, texts))
    inputs, vectors = await run_encoder(
        request, served, num_chars, lambda info: _prepare(served.renderer, info, texts), lease
    )
    labels, activation = inputs.info.labels, inputs.info.activation
    found = [
        Classified(
            probabilities=dict(zip(labels, activate(unpack(vector), activation), strict=True)),
            is_one_of=activation == "softmax",
        )
        for vector in vectors
    ]
    return found, sum(map(len, inputs.ids))


def _prepare(renderer: Renderer, info: EncoderInfo, texts: Sequence[str]) -> _Inputs:
    ids = renderer.encode_batch(texts, param="text")
    longest = max(map(len, ids))
    if longest > info.max_input_tokens:
        raise InvalidRequest(
            f"a text has {longest} tokens; this model takes {info.max_input_tokens}, special tokens included. Shorten "
            "it, or name another model.",
            param="text",
            code="context_length_exceeded",
        )
    return _Inputs(ids=ids, info=info)
