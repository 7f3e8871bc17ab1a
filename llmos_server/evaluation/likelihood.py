"""How likely a served model finds a text: /v1/completions with echo and logprobs, prompts as token ids."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import NamedTuple

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.asking import Models
from llmos_server.evaluation.metrics.bootstrap import Interval, interval_of_mean

WINDOW_TOKENS = 512
CONCURRENCY = 4


class Likelihood(NamedTuple):
    """Of tokens behind a context."""

    logprob: float
    is_greedy: bool
    """Each of them is the model's likeliest."""


class Perplexity(NamedTuple):
    model: str
    num_tokens: int
    perplexity: Interval
    """Over windows that are drawn again: a percentile bootstrap."""
    bits_per_byte: float
    """Comparable between models with different tokenizers, which perplexity isn't."""


class Scorer:
    """One model of a server."""

    def __init__(self, models: Models, model: str) -> None:
        self._models = models
        self._model = model
        self._beginning: list[int] | None = None
        self.max_tokens = WINDOW_TOKENS

    async def encode(self, text: str) -> list[int]:
        """Without special tokens."""
        body = {"model": self._model, "prompt": text, "add_special_tokens": False}
        answer = await self._models.post("/tokenize", body)
        self.max_tokens = answer["max_model_len"] or self.max_tokens
        tokens: list[int] = answer["tokens"]
        return tokens

    async def beginning(self) -> list[int]:
        """What the tokenizer puts before every text: BOS for most."""
        if self._beginning is None:
            answer = await self._models.post("/tokenize", {"model": self._model, "prompt": ""})
            self._beginning = list(answer["tokens"])
        return self._beginning

    async def score(self, context: Sequence[int], tokens: Sequence[int]) -> Likelihood:
        """Of `tokens` behind `context`, cut at the left to what the model can read. Raises InvalidRequest where there
        is nothing before the first token that could foretell it, or nothing to score."""
        found = await self._logprobs([*context, *tokens], len(tokens))
        return Likelihood(math.fsum(logprob for logprob, _ in found), all(best for _, best in found))

    async def _logprobs(self, ids: Sequence[int], number: int) -> list[tuple[float, bool]]:
        """Of the last `number` tokens: log-probability, and whether it is the likeliest."""
        ids = ids[-self.max_tokens :]
        if not 0 < number < len(ids):
            raise InvalidRequest(
                f"{number} tokens can't be scored within {len(ids)}: one has to be before them, and the model reads "
                f"{self.max_tokens}.",
                code="text_too_short",
            )
        answer = await self._models.post(
            "/v1/completions",
            {"model": self._model, "prompt": list(ids), "echo": True, "max_tokens": 0, "logprobs": 1},
        )
        told = answer["choices"][0]["logprobs"]
        pairs = zip(told["token_logprobs"][-number:], told["top_logprobs"][-number:], strict=True)
        return [(logprob, logprob >= max(top.values())) for logprob, top in pairs]

    async def perplexity(self, text: str, max_tokens: int) -> Perplexity:
        """Each window is foretold from its own beginning on. Raises InvalidRequest for a text without two tokens."""
        ids = (await self.encode(text))[:max_tokens]
        before = await self.beginning()
        size = min(WINDOW_TOKENS, self.max_tokens) - len(before)
        windows = [before + ids[start : start + size] for start in range(0, len(ids), size)]
        windows = [window for window in windows if len(window) > max(len(before), 1)]
        if not windows:
            raise InvalidRequest("The text is too short: perplexity needs two tokens at least, better 5,000.")
        turns = asyncio.Semaphore(CONCURRENCY)

        async def foretell(window: list[int]) -> list[float]:
            async with turns:
                return [logprob for logprob, _ in await self._logprobs(window, len(window) - max(len(before), 1))]

        logprobs = await asyncio.gather(*map(foretell, windows))
        return _to_perplexity(self._model, logprobs, await self._num_bytes(windows, len(before)))

    async def _num_bytes(self, windows: Sequence[list[int]], num_before: int) -> int:
        """Of what was foretold: without a token before it, a window's first one isn't."""
        total = 0
        for window in windows:
            body = {"model": self._model, "tokens": window[max(num_before, 1) :]}
            total += len((await self._models.post("/detokenize", body))["prompt"].encode())
        return total


def _to_perplexity(model: str, windows: Sequence[Sequence[float]], num_bytes: int) -> Perplexity:
    number = sum(map(len, windows))
    total = math.fsum(map(math.fsum, windows))
    spread = interval_of_mean([-math.fsum(window) / len(window) for window in windows])
    mean = -total / number
    interval = Interval(math.exp(mean), math.exp(min(spread.low, mean)), math.exp(max(spread.high, mean)))
    return Perplexity(model, number, interval, -total / math.log(2) / max(num_bytes, 1))
