"""One prompt's answers from the server's engine, as token ids with their log-probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec

from llmos_server.job_client import Unreachable, post, read_refusal
from llmos_server.job_contracts import JobFailed

PATH = "/v1/completions"


@dataclass(frozen=True, slots=True)
class Sampled:
    """An answer: its tokens, the one that ended it among them."""

    ids: list[int]
    logprobs: list[float | None]
    """The engine's own of each token, before the temperature; None of one that isn't finite."""


class _Logprobs(msgspec.Struct):
    token_logprobs: list[float | None]


class _Choice(msgspec.Struct):
    index: int
    token_ids: list[int]
    logprobs: _Logprobs


class _Completion(msgspec.Struct):
    choices: list[_Choice]


class CantSample(JobFailed):
    """The server refuses such requests, whatever it is asked."""


async def sample(
    client: httpx2.AsyncClient, model: str, prompt: Sequence[int], n: int, seed: int, options: dict[str, Any]
) -> list[Sampled]:
    """options: further fields of the request. Raises CantSample, and Unreachable."""
    body = {
        "model": model,
        "prompt": list(prompt),
        "n": n,
        "seed": seed,
        "logprobs": 0,
        "return_token_ids": True,
        **options,
    }
    reply = await post(client, PATH, msgspec.json.encode(body))
    if reply.status_code >= 400:
        refusal = read_refusal(reply)
        told = reply.text[:300] if refusal is None else refusal.message
        if reply.status_code >= 500:
            raise Unreachable(f"The engine failed: {told}")
        raise CantSample(
            f"The server's engine samples no answers for this run: {told} With use_vllm: false the run samples them "
            "itself.",
            code="sampling_refused",
        )
    choices = msgspec.json.decode(reply.content, type=_Completion).choices
    return [Sampled(choice.token_ids, choice.logprobs.token_logprobs) for choice in choices]
