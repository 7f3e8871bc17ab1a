"""The stock openai SDK, strict validation on, against the real model over real HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
import pytest

MODEL = "smollm2:135m"
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", _strict_response_validation=True) as client:
        yield client


@pytest.fixture
async def async_client(server):
    async with openai.AsyncOpenAI(
        base_url=server.url + "/v1", api_key="none", _strict_response_validation=True
    ) as client:
        yield client


def joined(chunks: list[Any]) -> dict[int, dict[str, Any]]:
    """The streamed chunks as one answer per choice."""
    choices: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            whole = choices.setdefault(choice.index, {"content": "", "finish_reason": None, "logprobs": []})
            whole["content"] += choice.delta.content or ""
            whole["finish_reason"] = choice.finish_reason or whole["finish_reason"]
            if choice.logprobs and choice.logprobs.content:
                whole["logprobs"] += choice.logprobs.content
    return choices


def test_answers_a_question(client):
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, temperature=0, max_tokens=20)
    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_models_are_listed(client):
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).id == MODEL


OPTIONS: list[dict[str, Any]] = [
    {"temperature": 0, "max_tokens": 24},
    {"temperature": 1.0, "seed": 7, "max_tokens": 24},
    {"temperature": 0.8, "seed": 7, "max_tokens": 16, "n": 3},
    {"temperature": 0, "max_tokens": 24, "stop": [" is", "zebra"]},
    {"temperature": 0, "max_tokens": 12, "logprobs": True, "top_logprobs": 4},
    {"temperature": 0.9, "seed": -3, "max_tokens": 16, "presence_penalty": 0.7, "frequency_penalty": 0.4, "top_p": 0.8},
    {"temperature": 0, "max_tokens": 16, "logit_bias": {"7042": -100}},
    {
        "temperature": 1.2,
        "seed": 11,
        "max_tokens": 20,
        "extra_body": {"top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1},
    },
    {"temperature": 0, "max_tokens": 10, "extra_body": {"ignore_eos": True}},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(sorted(options)))
def test_streamed_equals_unstreamed(client, options):
    whole = client.chat.completions.create(model=MODEL, messages=QUESTION, **options)
    with client.chat.completions.create(
        model=MODEL, messages=QUESTION, stream=True, stream_options={"include_usage": True}, **options
    ) as stream:
        chunks = list(stream)
    streamed = joined(chunks)
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert chunks[-1].usage.prompt_tokens == whole.usage.prompt_tokens
    for choice in whole.choices:
        assert streamed[choice.index]["content"] == choice.message.content
        assert streamed[choice.index]["finish_reason"] == choice.finish_reason
        if choice.logprobs:
            assert streamed[choice.index]["logprobs"] == choice.logprobs.content


def test_choice_zero_of_n_equals_one(client):
    options = {"temperature": 1.0, "seed": 5, "max_tokens": 12}
    one = client.chat.completions.create(model=MODEL, messages=QUESTION, **options)
    three = client.chat.completions.create(model=MODEL, messages=QUESTION, n=3, **options)
    assert three.choices[0].message.content == one.choices[0].message.content
    assert len({choice.message.content for choice in three.choices}) > 1


async def test_a_seed_repeats_inside_any_batch(async_client):
    async def ask(seed: int, words: int) -> str:
        content = "Tell me a story about " + "a fox and " * words + "a hare."
        answer = await async_client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": content}], seed=seed, temperature=1.0, max_tokens=16
        )
        return answer.choices[0].message.content

    jobs = [(seed, 6 * seed) for seed in range(3)]
    alone = [await ask(*job) for job in jobs]
    together = await asyncio.gather(*(ask(*job) for job in jobs + jobs[::-1]))
    assert together == alone + alone[::-1]


def test_echo_with_logprobs(server):
    """What lm-evaluation-harness sends. The SDK's strict types don't know that nothing precedes the first token."""
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="none")
    text = "The capital of France is Paris."
    answer = client.completions.create(
        model=MODEL, prompt=text, echo=True, logprobs=1, max_tokens=0, temperature=0, seed=1
    )
    logprobs = answer.choices[0].logprobs
    assert answer.choices[0].text == text
    assert "".join(logprobs.tokens) == text
    assert logprobs.token_logprobs[0] is None
    assert all(value < 0 for value in logprobs.token_logprobs[1:])


async def test_async_stream(async_client):
    stream = await async_client.chat.completions.create(
        model=MODEL, messages=QUESTION, stream=True, temperature=0, max_tokens=20
    )
    assert "Paris" in "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


def test_prefix_hits_are_counted_and_change_nothing(client):
    messages = [{"role": "user", "content": "Remember these words: " + "river stone lantern " * 12 + ". Name one."}]
    options = {"temperature": 0, "max_tokens": 12}
    first = client.chat.completions.create(model=MODEL, messages=messages, **options)
    second = client.chat.completions.create(model=MODEL, messages=messages, **options)
    assert second.usage.prompt_tokens_details.cached_tokens > 0
    assert second.choices[0].message.content == first.choices[0].message.content


def test_too_long_is_refused_with_the_numbers(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 9000}])
    assert refused.value.body["code"] == "context_length_exceeded"
    assert "8192" in refused.value.body["message"]
