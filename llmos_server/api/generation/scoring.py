"""How likely a decoder finds texts behind a prompt: nothing is generated, and the prompt is computed once for all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from llmos_server.api.errors import QueueFull
from llmos_server.api.generation.plans import new_id
from llmos_server.api.served import ServedModel
from llmos_server.api.services import Services
from llmos_server.calibration.calibration import probabilities
from llmos_server.contracts import EngineInfo, ScoreRequest, Scores
from llmos_server.errors import EngineBusy, InvalidRequest

MIN_SHARED_TOKENS = 32
"""Of prompts that begin alike, that the first is worth a step of its own for: two pages of the default size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextScores:
    """Of each text, in order."""

    logprobs: list[float]
    """Of the text as a whole, given the prompt, in nats."""
    num_tokens: list[int]
    num_prompt_tokens: int
    num_cached_tokens: int

    @property
    def probabilities(self) -> list[float]:
        """That it is this text, if it has to be one of them."""
        return probabilities(self.logprobs)


async def score_texts(
    services: Services,
    served: ServedModel,
    info: EngineInfo,
    prompt_ids: list[int],
    texts: Sequence[str],
    *,
    param: str = "labels",
    owner: str = "",
    cache_salt: str = "",
    priority: int = 0,
) -> TextScores:
    """Within served.engine.hold(), and info as its wait_ready gave it. param: the field that a refusal names.

    Raises InvalidRequest for a text without tokens and for what is too long; else as Generator.score does.
    """
    num_chars = sum(map(len, texts))
    encoded = await services.pool.run(num_chars, lambda: encode_texts(served, prompt_ids, texts, param))
    check_score_room(prompt_ids, encoded, info, param)
    request = ScoreRequest(
        request_id=new_id("score"),
        prompt_ids=prompt_ids,
        continuations=encoded,
        priority=priority,
        cache_salt=cache_salt,
        owner=owner,
    )
    scores = await run_score(served, request)
    return TextScores(
        logprobs=scores.totals,
        num_tokens=[len(ids) for ids in encoded],
        num_prompt_tokens=len(prompt_ids),
        num_cached_tokens=scores.num_cached_tokens,
    )


async def run_score(served: ServedModel, request: ScoreRequest) -> Scores:
    """Raises QueueFull where a ready engine has too many requests waiting; else as Generator.score does."""
    try:
        return await served.generator.score(request)
    except EngineBusy as error:
        if served.generator.state == "ready":
            raise QueueFull(str(error), retry_after=error.retry_after) from error
        raise


async def run_scores(served: ServedModel, requests: Sequence[ScoreRequest]) -> list[Scores]:
    """All of them, in order; what fails, or is given up, gives up all.

    Where their prompts begin alike, the first runs ahead of the others, which then find that begin in the prefix cache.
    """
    rest = list(requests)
    scores = []
    if len(rest) > 1 and num_shared_tokens([request.prompt_ids for request in rest]) >= MIN_SHARED_TOKENS:
        scores.append(await run_score(served, rest.pop(0)))
    tasks = [asyncio.ensure_future(run_score(served, request)) for request in rest]
    try:
        return scores + list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def num_shared_tokens(prompts: Sequence[list[int]]) -> int:
    """With how many tokens all of them begin. The least and the greatest of them differ first."""
    least, greatest = min(prompts), max(prompts)
    pairs = enumerate(zip(least, greatest, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(least), len(greatest)))


def check_score_room(prompt_ids: list[int], continuations: list[list[int]], info: EngineInfo, param: str) -> None:
    """Raises InvalidRequest when the prompt with its longest continuation is longer than the model takes."""
    longest = max(map(len, continuations))
    if len(prompt_ids) + longest > info.max_model_len:
        raise InvalidRequest(
            f"{param}: the prompt is {len(prompt_ids)} tokens long and the longest text behind it {longest}; this "
            f"model takes {info.max_model_len} in all. Shorten them.",
            param=param,
            code="context_length_exceeded",
        )


def encode_texts(served: ServedModel, prompt_ids: list[int], texts: Sequence[str], param: str) -> list[list[int]]:
    """Each as it continues the prompt. Raises InvalidRequest for one without tokens."""
    encoded = []
    for place, text in enumerate(texts):
        ids = served.renderer.encode_continuation(prompt_ids, text, param=f"{param}[{place}]")
        if not ids:
            raise InvalidRequest(
                f"{param}[{place}] is empty; only a text can be more or less likely.",
                param=f"{param}[{place}]",
                code="invalid_value",
            )
        encoded.append(ids)
    return encoded
