"""Texts behind a prompt, scored in this process: what skills ask for."""

from __future__ import annotations

import math
from typing import Any

import pytest

from llmos_server.api.generation.scoring import score_texts
from llmos_server.calibration.calibration import probabilities
from llmos_server.errors import EngineBusy, InvalidRequest

PROMPT = list(b"It is ")


async def score(api: Any, texts: list[str], **options: Any) -> Any:
    services = api.app.state["services"]
    served = await services.directory.get("tiny")
    with served.engine.hold():
        info = await served.generator.wait_ready()
        return await score_texts(services, served, info, PROMPT, texts, **options)


async def test_a_text_scores_the_sum_of_its_tokens(api: Any, fakes: Any) -> None:
    api.generator.num_cached_tokens = 4
    scores = await score(api, ["good", "bad", "good"], owner="me", cache_salt="s", priority=3)
    expected = [
        math.fsum(fakes.logprob_of(token, place, 0).logprob for place, token in enumerate(text.encode()))
        for text in ("good", "bad", "good")
    ]
    assert scores.logprobs == expected
    assert scores.num_tokens == [4, 3, 4]
    assert (scores.num_prompt_tokens, scores.num_cached_tokens) == (6, 4)
    assert math.fsum(scores.probabilities) == pytest.approx(1)
    assert scores.probabilities[0] / scores.probabilities[1] == pytest.approx(math.exp(expected[0] - expected[1]))
    (request,) = api.generator.requests
    assert request.continuations == [[*b"good"], [*b"bad"], [*b"good"]]
    assert (request.owner, request.cache_salt, request.priority) == ("me", "s", 3)


async def test_refused(api: Any) -> None:
    with pytest.raises(InvalidRequest, match="empty") as caught:
        await score(api, ["good", ""])
    assert caught.value.param == "labels[1]"
    with pytest.raises(InvalidRequest, match="takes 400 in all") as caught:
        await score(api, ["x" * 395], param="texts")
    assert (caught.value.param, caught.value.code) == ("texts", "context_length_exceeded")
    assert api.generator.requests == []


async def test_a_full_queue_is_told_apart(api: Any) -> None:
    api.generator.submit_error = EngineBusy("full", retry_after=7.0)
    with pytest.raises(EngineBusy) as caught:
        await score(api, ["good"])
    assert type(caught.value).__name__ == "QueueFull"
    assert caught.value.retry_after == 7.0


def test_probabilities_of_what_can_hardly_be() -> None:
    assert probabilities([-5000.0, -5000.0]) == [0.5, 0.5]
    assert probabilities([0.0, -5000.0]) == [1.0, 0.0]
    assert probabilities([0.0, -2.0], temperature=2.0) == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))])
