"""The Python package `anthropic`."""

from __future__ import annotations

import json
from typing import Any

import anthropic
from scenarios import QUESTION, Target, run

MESSAGES: Any = [{"role": "user", "content": QUESTION}]
WEATHER: Any = [{"role": "user", "content": "What is the weather in Rome?"}]
TOOL: Any = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
FORM: Any = {
    "type": "json_schema",
    "schema": {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "kind": {"enum": ["city", "village"]}},
        "required": ["name", "kind"],
        "additionalProperties": False,
    },
}


def client(target: Target) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=target.root, api_key="none", max_retries=0)


def options(target: Target, max_tokens: int = 20) -> Any:
    """The package has no argument for the temperature any more; greedy answers are compared."""
    return {
        "model": target.chat_model,
        "max_tokens": max_tokens,
        "system": "You are a helpful assistant.",
        "extra_body": {"temperature": 0},
    }


def chat(target: Target) -> str:
    message = client(target).messages.create(messages=MESSAGES, **options(target))
    assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) > 0
    return text_of(message)


def stream(target: Target) -> str:
    with client(target).messages.stream(messages=MESSAGES, **options(target)) as events:
        text = "".join(events.text_stream)
        assert text == text_of(events.get_final_message())
    return text


def raw_stream(target: Target) -> str:
    events = client(target).messages.create(messages=MESSAGES, stream=True, **options(target))
    deltas = [event.delta for event in events if event.type == "content_block_delta"]
    return "".join(delta.text for delta in deltas if delta.type == "text_delta")


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def call(target: Target) -> str:
    """A call, its result, and an answer to that."""
    asked = {**options(target, 60), "tools": [TOOL]}
    message = client(target).messages.create(messages=WEATHER, tool_choice={"type": "any"}, **asked)
    uses = [block for block in message.content if block.type == "tool_use"]
    results: Any = [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"} for use in uses]
    turns = [*WEATHER, message.to_param(), {"role": "user", "content": results}]
    end = client(target).messages.create(messages=turns, tool_choice={"type": "none"}, **asked)
    return f"{json.dumps(uses[0].input)} {text_of(end)}"


def call_streamed(target: Target) -> str:
    choice: Any = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    asked = {**options(target, 60), "tools": [TOOL], "tool_choice": choice}
    with client(target).messages.stream(messages=WEATHER, **asked) as events:
        [use] = events.get_final_message().content
    assert use.type == "tool_use"
    return json.dumps(use.input)


def form(target: Target) -> Any:
    asked = options(target, 60)
    message = client(target).messages.create(messages=MESSAGES, output_config={"format": FORM}, **asked)
    return json.loads(text_of(message))


def form_streamed(target: Target) -> Any:
    asked = options(target, 60)
    with client(target).messages.stream(messages=MESSAGES, output_config={"format": FORM}, **asked) as events:
        return json.loads(text_of(events.get_final_message()))


def count(target: Target) -> str:
    """The prompt's tokens are those that an answer is charged for."""
    counted = client(target).messages.count_tokens(model=target.chat_model, messages=MESSAGES, tools=[TOOL])
    usage = client(target).messages.create(
        model=target.chat_model, messages=MESSAGES, tools=[TOOL], max_tokens=1
    ).usage  # fmt: skip
    total = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    assert counted.input_tokens == total
    return "counted"


def models(target: Target) -> list[str]:
    return [model.id for model in client(target).models.list()]


def missing(target: Target) -> str:
    try:
        client(target).messages.create(model="claude-opus-5-5", messages=MESSAGES, max_tokens=1)
    except anthropic.NotFoundError as error:
        return f"{error.type}: {error.message}"
    raise AssertionError("an unknown model was served")


if __name__ == "__main__":
    scenarios = (chat, stream, raw_stream, call, call_streamed, form, form_streamed, count, models, missing)
    run({scenario.__name__: scenario for scenario in scenarios})
