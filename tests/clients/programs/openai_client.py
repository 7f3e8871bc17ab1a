"""The Python package `openai`."""

from __future__ import annotations

import json
from typing import Literal

import openai
from pydantic import BaseModel, Field
from scenarios import QUESTION, Target, run

MESSAGES = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": QUESTION}]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class City(BaseModel):
    name: str
    population: int


def client(target: Target) -> openai.OpenAI:
    return openai.OpenAI(base_url=target.base_url, api_key="none", max_retries=0)


def chat(target: Target) -> str | None:
    return (
        client(target)
        .chat.completions.create(model=target.chat_model, messages=MESSAGES, temperature=0, max_completion_tokens=20)
        .choices[0]
        .message.content
    )


def stream(target: Target) -> str:
    chunks = client(target).chat.completions.create(
        model=target.chat_model,
        messages=MESSAGES,
        temperature=0,
        max_tokens=20,
        stream=True,
        stream_options={"include_usage": True},
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def parse(target: Target) -> str:
    return repr(
        client(target)
        .chat.completions.parse(model=target.chat_model, messages=MESSAGES, response_format=City)
        .choices[0]
        .message.parsed
    )


class Place(BaseModel):
    """With an end that a small model finds."""

    name: str = Field(max_length=20)
    population: int = Field(ge=0, le=10**8)
    kind: Literal["city", "village"] | None
    neighbours: list[Literal["Lyon", "Lille"]] = Field(max_length=2)


def parse_limited(target: Target) -> dict[str, object]:
    answer = client(target).chat.completions.parse(
        model=target.chat_model, messages=MESSAGES, response_format=Place, temperature=0, max_completion_tokens=200
    )
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, Place)
    return parsed.model_dump()


def parse_streamed(target: Target) -> dict[str, object]:
    """The helper parses what has come so far, again and again."""
    with client(target).chat.completions.stream(
        model=target.chat_model, messages=MESSAGES, response_format=Place, temperature=0, max_completion_tokens=200
    ) as events:
        kinds = {event.type for event in events}
        parsed = events.get_final_completion().choices[0].message.parsed
    assert {"content.delta", "content.done"} <= kinds, kinds
    assert isinstance(parsed, Place)
    return parsed.model_dump()


def tools(target: Target) -> str | None:
    answer = client(target).chat.completions.create(
        model=target.chat_model, messages=MESSAGES, tools=[TOOL], tool_choice="auto", parallel_tool_calls=False
    )
    return answer.choices[0].message.content


WEATHER = [{"role": "user", "content": "What is the weather in Rome?"}]


def call(target: Target) -> str:
    """A call, its result, and an answer to that."""
    options = {"model": target.chat_model, "tools": [TOOL], "temperature": 0, "max_tokens": 60}
    answer = client(target).chat.completions.create(messages=WEATHER, tool_choice="required", **options)
    message = answer.choices[0].message
    results = [{"role": "tool", "tool_call_id": made.id, "content": "sunny"} for made in message.tool_calls]
    end = client(target).chat.completions.create(messages=[*WEATHER, message, *results], tool_choice="none", **options)
    return f"{message.tool_calls[0].function.arguments} {end.choices[0].message.content}"


def call_streamed(target: Target) -> str:
    """By the package's helper, which parses the arguments of strict functions."""
    tool = {**TOOL, "function": {**TOOL["function"], "strict": True}}
    tool["function"]["parameters"] = {**TOOL["function"]["parameters"], "additionalProperties": False}
    stream = client(target).chat.completions.stream(
        model=target.chat_model,
        messages=WEATHER,
        tools=[tool],
        tool_choice="required",
        parallel_tool_calls=False,
        temperature=0,
        max_tokens=60,
    )
    with stream as events:
        events.until_done()
        [made] = events.get_final_completion().choices[0].message.tool_calls
    return json.dumps(made.function.parsed_arguments)


def image(target: Target) -> str | None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
    ]
    return (
        client(target)
        .chat.completions.create(model=target.chat_model, messages=[{"role": "user", "content": content}])
        .choices[0]
        .message.content
    )


def completion(target: Target) -> str:
    return (
        client(target)
        .completions.create(model=target.chat_model, prompt="Once upon a time", max_tokens=8, temperature=0)
        .choices[0]
        .text
    )


def completion_stream(target: Target) -> str:
    return "".join(
        chunk.choices[0].text
        for chunk in client(target).completions.create(
            model=target.chat_model, prompt="Once upon a time", max_tokens=8, temperature=0, stream=True
        )
    )


def embed(target: Target) -> list[int]:
    """The package asks for base64 by itself."""
    return [
        len(item.embedding)
        for item in client(target).embeddings.create(model=target.embedding_model, input=["one", "two"]).data
    ]


def models(target: Target) -> list[str]:
    return [model.id for model in client(target).models.list().data]


def retrieve(target: Target) -> str:
    return client(target).models.retrieve(target.chat_model).id


if __name__ == "__main__":
    run(
        {
            f.__name__: f
            for f in (
                chat,
                stream,
                parse,
                parse_limited,
                parse_streamed,
                tools,
                call,
                call_streamed,
                image,
                completion,
                completion_stream,
                embed,
                models,
                retrieve,
            )
        }
    )
