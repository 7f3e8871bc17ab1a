"""The `input` of an embedding request as token ids that the model can take, or a refusal that names the place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from llmos_server.api.schemas.embeddings import MAX_INPUTS
from llmos_server.api.services import Services
from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import EncoderInfo
from llmos_server.errors import InvalidRequest

WHOLE_MODEL = -1
"""A truncate_prompt_tokens that stands for the model's own limit, as in vLLM."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Ready for the engine."""

    ids: list[list[int]]
    num_truncated: int

    @property
    def num_tokens(self) -> int:
        return sum(map(len, self.ids))


class InputFields(Protocol):
    """Of requests that have inputs, in the four forms of embeddings."""

    @property
    def input(self) -> str | list[str | int | list[int]]: ...

    @property
    def truncate_prompt_tokens(self) -> int | None: ...

    @property
    def truncation_side(self) -> Literal["left", "right"] | None: ...


def read_inputs(data: InputFields) -> list[str] | list[list[int]]:
    """The four forms of `input` as one list of one kind. Raises InvalidRequest."""
    given = data.input
    if isinstance(given, str):
        given = [given]
    elif given and all(isinstance(item, int) for item in given):
        given = [given]  # type: ignore[list-item]
    if len(given) > MAX_INPUTS:
        raise _invalid(f"input holds {len(given)} texts; at most {MAX_INPUTS} fit into one request.", "input")
    if not given:
        raise _invalid("input is an empty list; send text or token ids.", "input")
    for place, item in enumerate(given):
        if isinstance(item, int) or type(item) is not type(given[0]):
            raise _invalid("input mixes texts and token ids; send one kind.", "input")
        if not item:
            name = _name(place, len(given))
            raise _invalid(f"{name} is empty; send at least one token of text.", name)
    return given  # type: ignore[return-value]


async def encode_inputs(
    services: Services,
    renderer: Renderer,
    info: EncoderInfo,
    data: InputFields,
    given: list[str] | list[list[int]],
) -> Inputs:
    """to_inputs, off the event loop where there is much text."""
    num_chars = sum(len(item) for item in given if isinstance(item, str))
    return await services.pool.run(num_chars, to_inputs, renderer, info, data, given)


def to_inputs(renderer: Renderer, info: EncoderInfo, data: InputFields, given: list[str] | list[list[int]]) -> Inputs:
    """Raises InvalidRequest for ids that the model doesn't have, and for what is too long and may not be cut."""
    texts = [item for item in given if isinstance(item, str)]
    if texts:
        ids = renderer.encode_batch(texts, param="input")
    else:
        ids = [item for item in given if isinstance(item, list)]
        _check_ids(ids, min(renderer.vocab_size, info.vocab_size))
    return _fit(ids, data, info, renderer)


def _check_ids(inputs: list[list[int]], vocab_size: int) -> None:
    for place, ids in enumerate(inputs):
        wrong = max(ids) if min(ids) >= 0 else min(ids)
        if not 0 <= wrong < vocab_size:
            name = _name(place, len(inputs))
            raise _invalid(
                f"{name}: {wrong} is no token of this model (0 to {vocab_size - 1}). Send text, or the ids that "
                "/tokenize gives for this model; a client that has a tokenizer of its own can be told to send text "
                "(LangChain: check_embedding_ctx_length=False).",
                name,
            )


def _fit(inputs: list[list[int]], data: InputFields, info: EncoderInfo, renderer: Renderer) -> Inputs:
    limit = _limit(data, info, renderer)
    fitting, num_truncated = [], 0
    for place, ids in enumerate(inputs):
        if len(ids) <= limit:
            fitting.append(ids)
        elif data.truncate_prompt_tokens is None:
            name = _name(place, len(inputs))
            raise InvalidRequest(
                f"{name} has {len(ids)} tokens, {len(ids) - limit} more than this model takes ({limit}, special tokens "
                "included). Split it, or send truncate_prompt_tokens: -1 to have only its begin embedded.",
                param=name,
                code="context_length_exceeded",
            )
        else:
            fitting.append(renderer.truncate(ids, limit, side=data.truncation_side or "right"))
            num_truncated += 1
    return Inputs(fitting, num_truncated)


def _limit(data: InputFields, info: EncoderInfo, renderer: Renderer) -> int:
    wanted = data.truncate_prompt_tokens
    if wanted is None and data.truncation_side is not None:
        raise _invalid("truncation_side needs truncate_prompt_tokens.", "truncation_side")
    if wanted is None or wanted == WHOLE_MODEL:
        return info.max_input_tokens
    least = sum(map(len, renderer.affixes)) + 1
    if not least <= wanted <= info.max_input_tokens:
        raise _invalid(
            f"truncate_prompt_tokens is {wanted}; this model takes {least} to {info.max_input_tokens}, or -1.",
            "truncate_prompt_tokens",
        )
    return wanted


def _name(place: int, num_inputs: int) -> str:
    return "input" if num_inputs == 1 else f"input[{place}]"


def _invalid(message: str, param: str) -> InvalidRequest:
    return InvalidRequest(message, param=param, code="invalid_value")
