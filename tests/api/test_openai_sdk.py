"""The stock openai SDK in this process, strict validation on; and OpenAI's own schemas where they are at hand."""

from __future__ import annotations

import json

import openai
import pytest

USER = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def client(api):
    return openai.AsyncOpenAI(
        base_url="http://127.0.0.1:8000/v1",
        api_key="any",
        http_client=api.http,
        max_retries=0,
        _strict_response_validation=True,
    )


async def test_chat(client):
    answer = await client.chat.completions.create(
        model="tiny", messages=USER, logprobs=True, top_logprobs=2, n=2, seed=1, user="u", extra_body={"top_k": 5}
    )
    assert [choice.message.content for choice in answer.choices] == ["Hello", "Hello"]
    assert answer.choices[0].logprobs.content[0].token == "H"
    assert answer.usage.prompt_tokens_details.cached_tokens == 0
    assert answer._request_id.startswith("req_")


async def test_the_answer_can_be_sent_back(client):
    first = await client.chat.completions.create(model="tiny", messages=USER)
    raw = await client.chat.completions.with_raw_response.create(
        model="tiny", messages=[*USER, first.choices[0].message, *USER], extra_headers={"X-LLMOS-Strict": "1"}
    )
    assert raw.parse().choices[0].message.content == "Hello"


async def test_streamed_chat(client):
    stream = await client.chat.completions.create(
        model="tiny", messages=USER, stream=True, stream_options={"include_usage": True}, logprobs=True
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == "Hello"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == 5


async def test_the_streaming_helper(client):
    async with client.chat.completions.stream(model="tiny", messages=USER) as stream:
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
        final = await stream.get_final_completion()
    assert "".join(deltas) == "Hello"
    assert final.choices[0].message.content == "Hello"


async def test_completions(client):
    answer = await client.completions.create(model="tiny", prompt=["a", "b"], logprobs=2, max_tokens=3)
    assert [choice.text for choice in answer.choices] == ["Hel", "Hel"]


async def test_streamed_completions(api):
    """Not strict: the SDK's type wants a finish_reason in every chunk, and OpenAI itself sends null before the last."""
    client = openai.AsyncOpenAI(base_url="http://127.0.0.1:8000/v1", api_key="any", http_client=api.http, max_retries=0)
    chunks = [chunk async for chunk in await client.completions.create(model="tiny", prompt="a", stream=True)]
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello"


async def test_models(client):
    [model] = (await client.models.list()).data
    assert (await client.models.retrieve(model.id)).id == "tiny"


async def test_errors_become_the_sdks_own(client, api):
    with pytest.raises(openai.NotFoundError) as missing:
        await client.chat.completions.create(model="gpt-9", messages=USER)
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        await client.chat.completions.create(model="tiny", messages=USER, temperature=9)
    assert bad.value.param == "temperature"
    api.generator.fail_after = 2
    stream = await client.chat.completions.create(model="tiny", messages=USER, stream=True)
    with pytest.raises(openai.APIError, match="went wrong"):
        [chunk async for chunk in stream]


async def test_bodies_conform_to_openais_schemas(api, conforms):
    for options in ({}, {"logprobs": True, "top_logprobs": 3, "n": 2}, {"max_tokens": 1}, {"stop": "l"}):
        conforms((await api.chat(**options)).json(), "CreateChatCompletionResponse")
        options = {**options, "stream": True, "stream_options": {"include_usage": True}}
        for line in (await api.chat(**options)).text.splitlines():
            if line.startswith("data: {"):
                conforms(json.loads(line[6:]), "CreateChatCompletionStreamResponse")
    for options in ({}, {"logprobs": 2}, {"echo": True}, {"best_of": 3}):
        conforms((await api.complete(**options)).json(), "CreateCompletionResponse")
        if "best_of" not in options:
            for line in (await api.complete(**options, stream=True)).text.splitlines():
                if line.startswith("data: {"):
                    chunk = json.loads(line[6:])
                    for choice in chunk["choices"]:  # the schema has no chunks: before the last, OpenAI sends null
                        choice["finish_reason"] = choice["finish_reason"] or "stop"
                    conforms(chunk, "CreateCompletionResponse")
    conforms((await api.http.get("/v1/models")).json(), "ListModelsResponse")
    conforms((await api.http.get("/v1/models/tiny")).json(), "Model")
    for reply in (await api.chat(n=0), await api.http.get("/nope"), await api.chat(model="x")):
        conforms(reply.json(), "ErrorResponse")
