"""What an engine refuses before it runs it: one bad request must never reach the tensors."""

from __future__ import annotations

from collections.abc import Iterable

from llmos_server.contracts import EngineInfo, GenerateRequest
from llmos_server.errors import InvalidRequest


def check_request(request: GenerateRequest, info: EngineInfo) -> None:
    """Raise InvalidRequest when this engine can't run the request. The API refuses the same earlier."""
    params = request.sampling
    num_prompt_tokens = len(request.prompt_ids)
    if request.n < 1:
        raise InvalidRequest(f"n is {request.n}; ask for at least one choice.", param="n")
    if params.max_tokens < 0:
        raise InvalidRequest(f"max_tokens is {params.max_tokens}; it can't be negative.", param="max_tokens")
    if num_prompt_tokens == 0:
        raise InvalidRequest("The prompt is empty; send at least one token.", param="prompt")
    if num_prompt_tokens + params.max_tokens > info.max_model_len:
        raise InvalidRequest(
            f"The prompt has {num_prompt_tokens} tokens and max_tokens is {params.max_tokens}; together they may be"
            f" at most {info.max_model_len}. Shorten the prompt or lower max_tokens.",
            code="context_length_exceeded",
        )
    if request.continuations:
        _check_continuations(request, info)
    _check_ids(request.prompt_ids, info.vocab_size, "prompt")
    _check_ids(params.logit_bias, info.vocab_size, "logit_bias")
    _check_ids(params.stop_token_ids, info.vocab_size, "stop_token_ids")


def _check_continuations(request: GenerateRequest, info: EngineInfo) -> None:
    """The rest of such a request is ScoreRequest.to_generate's."""
    for place, continuation in enumerate(request.continuations):
        param = f"continuations[{place}]"
        if not continuation:
            raise InvalidRequest(f"{param} is empty; a continuation has at least one token.", param=param)
        _check_ids(continuation, info.vocab_size, param)


def _check_ids(token_ids: Iterable[int], vocab_size: int, param: str) -> None:
    wrong = next((token_id for token_id in token_ids if not 0 <= token_id < vocab_size), None)
    if wrong is not None:
        raise InvalidRequest(
            f"{param} holds token id {wrong}; this model's ids are 0 to {vocab_size - 1}.", param=param
        )
