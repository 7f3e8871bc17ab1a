"""How likely a model finds a text: of a scripted server."""

from __future__ import annotations

import math
from typing import Any

import pytest

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.likelihood import Scorer


class Bytes:
    """A model of bytes, of which it likes vowels best: probability 1/2, and 1/8 for all else. Token 256 is BOS."""

    def __init__(self, max_model_len: int = 40, bos: bool = True) -> None:
        self.max_model_len = max_model_len
        self.bos = [256] if bos else []
        self.prompts: list[list[int]] = []

    async def get(self, path: str) -> dict[str, Any]:
        raise AssertionError(path)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/tokenize":
            before = self.bos if body.get("add_special_tokens", True) else []
            return {"tokens": [*before, *body["prompt"].encode()], "max_model_len": self.max_model_len}
        if path == "/detokenize":
            return {"prompt": bytes(body["tokens"]).decode()}
        assert path == "/v1/completions"
        assert len(body["prompt"]) <= self.max_model_len
        self.prompts.append(body["prompt"])
        chances = [0.5 if token in list(b"aeiou") else 0.125 for token in body["prompt"]]
        tops = [{"a": math.log(0.5)} for _ in chances]
        logprobs = [None, *map(math.log, chances[1:])]
        return {"choices": [{"logprobs": {"token_logprobs": logprobs, "top_logprobs": [None, *tops[1:]]}}]}


async def test_a_continuation_is_scored_behind_its_context() -> None:
    scorer = Scorer(Bytes(), "m")
    found = await scorer.score(await scorer.encode("xyz"), await scorer.encode("aeb"))
    assert found.logprob == pytest.approx(math.log(0.5 * 0.5 * 0.125))
    assert not found.is_greedy
    assert (await scorer.score([1], await scorer.encode("ae"))).is_greedy


async def test_a_long_context_loses_its_begin() -> None:
    model = Bytes(max_model_len=10)
    scorer = Scorer(model, "m")
    await scorer.score(await scorer.encode("x" * 50), await scorer.encode("ab"))
    assert bytes(model.prompts[0]) == b"xxxxxxxxab"
    with pytest.raises(InvalidRequest, match="one has to be before them"):
        await scorer.score([], await scorer.encode("a" * 10))


@pytest.mark.parametrize("bos", [True, False])
async def test_perplexity_is_of_all_tokens_that_something_is_before(bos) -> None:
    model = Bytes(max_model_len=9, bos=bos)
    found = await Scorer(model, "m").perplexity("ax" * 8, 16)
    assert [len(prompt) for prompt in model.prompts] == ([9, 9] if bos else [9, 7])
    assert found.num_tokens == (16 if bos else 14)
    if bos:
        assert found.perplexity.mean == pytest.approx(4)
        assert found.bits_per_byte == pytest.approx(2)
        assert found.perplexity.low <= 4 <= found.perplexity.high


async def test_a_text_without_tokens_has_none() -> None:
    with pytest.raises(InvalidRequest, match="too short"):
        await Scorer(Bytes(), "m").perplexity("", 10)
