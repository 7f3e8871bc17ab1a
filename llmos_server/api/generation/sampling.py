"""Wire fields to SamplingParams: defaults, and the checks that need more than one field or the model."""

from __future__ import annotations

import secrets

from llmos_server.api.schemas.common import GenerationFields
from llmos_server.chat.renderer import Renderer
from llmos_server.contracts import SamplingParams
from llmos_server.errors import InvalidRequest

MAX_LOGIT_BIASES = 1024

ALL_ROOM = -1
"""A max_tokens that is no bound, as in llama.cpp."""

RANDOM_SEED = -1
"""A seed that asks for a random one, as in llama.cpp and vLLM."""


def to_sampling(
    wire: GenerationFields,
    renderer: Renderer,
    *,
    max_tokens: int,
    logprobs: int | None = None,
    prompt_logprobs: int | None = None,
    grammar: str = "",
) -> SamplingParams:
    """max_tokens: what the client allows, before it is cut to the room that the prompt leaves."""
    min_tokens = wire.min_tokens or 0
    if min_tokens > max_tokens:
        raise InvalidRequest(
            f"min_tokens ({min_tokens}) is above max_tokens ({max_tokens}).", param="min_tokens", code="invalid_value"
        )
    ends = () if wire.ignore_eos else sorted(renderer.eos_ids)
    asked = check_ids(wire.stop_token_ids or [], renderer.vocab_size, "stop_token_ids")
    return SamplingParams(
        max_tokens=max_tokens,
        min_tokens=min_tokens,
        seed=random_seed() if (seed := chosen_seed(wire)) is None else seed % 2**63,
        temperature=_or(wire.temperature, 1.0),
        top_p=_or(wire.top_p, 1.0),
        top_k=max(wire.top_k or 0, 0),
        min_p=_or(wire.min_p, 0.0),
        repetition_penalty=_or(wire.repetition_penalty, 1.0),
        presence_penalty=_or(wire.presence_penalty, 0.0),
        frequency_penalty=_or(wire.frequency_penalty, 0.0),
        logit_bias=_logit_bias(wire.logit_bias or {}, renderer.vocab_size),
        stop_token_ids=tuple(dict.fromkeys([*asked, *ends])),
        logprobs=logprobs,
        prompt_logprobs=prompt_logprobs,
        grammar=grammar,
    )


def chosen_seed(wire: GenerationFields) -> int | None:
    """None: the client leaves it to chance."""
    return None if wire.seed == RANDOM_SEED else wire.seed


def random_seed() -> int:
    return secrets.randbits(63)


def stop_strings(wire: GenerationFields) -> tuple[str, ...]:
    if wire.stop is None:
        return ()
    return (wire.stop,) if isinstance(wire.stop, str) else tuple(dict.fromkeys(wire.stop))


def num_choices(wire: GenerationFields, max_n: int) -> int:
    n = 1 if wire.n is None else wire.n
    if n > max_n:
        raise InvalidRequest(f"n is {n}; this server gives at most {max_n} choices.", param="n", code="invalid_value")
    return n


def check_stream_options(wire: GenerationFields) -> None:
    options = wire.stream_options
    if options is None:
        return
    if not wire.stream:
        raise InvalidRequest(
            "stream_options is only allowed with stream: true.", param="stream_options", code="invalid_value"
        )
    if options.continuous_usage_stats and not options.include_usage:
        raise InvalidRequest(
            "continuous_usage_stats needs include_usage: true.",
            param="stream_options.continuous_usage_stats",
            code="invalid_value",
        )


def _or(value: float | None, default: float) -> float:
    return default if value is None else float(value)


def check_ids(ids: list[int], vocab_size: int, param: str) -> list[int]:
    """The ids. Raises InvalidRequest for one that the model doesn't have."""
    for token_id in ids:
        if not 0 <= token_id < vocab_size:
            raise InvalidRequest(
                f"{param}: {token_id} is no token of this model (0 to {vocab_size - 1}).",
                param=param,
                code="invalid_value",
            )
    return ids


def _logit_bias(biases: dict[str, float], vocab_size: int) -> dict[int, float]:
    if len(biases) > MAX_LOGIT_BIASES:
        raise InvalidRequest(
            f"logit_bias holds more than {MAX_LOGIT_BIASES} tokens.", param="logit_bias", code="invalid_value"
        )
    parsed: dict[int, float] = {}
    for key, bias in biases.items():
        if not (key.isascii() and key.isdigit()) or len(key) > 10:
            message = f"logit_bias: {key[:40]!r} is no token id; /tokenize tells the ids of a text."
            raise InvalidRequest(message, param="logit_bias", code="invalid_value")
        parsed[int(key)] = float(bias)
    check_ids(list(parsed), vocab_size, "logit_bias")
    return parsed
