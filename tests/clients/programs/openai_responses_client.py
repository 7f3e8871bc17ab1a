"""The Python package `openai`, its responses: create, streams, parse, chains, function tools, tools of the server."""

from __future__ import annotations

import json
from typing import Any, Literal

import openai
from pydantic import BaseModel
from scenarios import QUESTION, Target, run

TOOL: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": True,
}


class Capital(BaseModel):
    city: Literal["Paris", "Rome"]


def client(target: Target) -> openai.OpenAI:
    return openai.OpenAI(base_url=target.base_url, api_key="none", max_retries=0)


def options(target: Target) -> dict[str, Any]:
    instructions = "You are a helpful assistant."
    return {
        "model": target.chat_model,
        "instructions": instructions,
        "input": QUESTION,
        "temperature": 0,
        "max_output_tokens": 20,
    }


def create(target: Target) -> str:
    return client(target).responses.create(**options(target)).output_text


def events(target: Target) -> str:
    stream = client(target).responses.create(**options(target), stream=True)
    return "".join(event.delta for event in stream if event.type == "response.output_text.delta")


def helper(target: Target) -> str:
    """The SDK's own accumulation; an incomplete response has no final one."""
    last = ""
    with client(target).responses.stream(**{**options(target), "max_output_tokens": 200}) as stream:
        for event in stream:
            if event.type == "response.output_text.done":
                last = event.text
        assert stream.get_final_response().output_text == last
    return last[:60]


def parse(target: Target) -> str:
    return repr(client(target).responses.parse(**options(target), text_format=Capital).output_parsed)


def parse_streamed(target: Target) -> str:
    with client(target).responses.stream(**options(target), text_format=Capital) as stream:
        return repr(stream.get_final_response().output_parsed)


def chain(target: Target) -> str:
    first = client(target).responses.create(**options(target))
    second = client(target).responses.create(
        **{**options(target), "input": "Say that again."}, previous_response_id=first.id
    )
    assert second.usage is not None
    assert first.usage is not None
    assert second.usage.input_tokens > first.usage.input_tokens
    return first.output_text


def call(target: Target) -> str:
    """A function tool that has to be called, and its output sent back."""
    given = {**options(target), "max_output_tokens": 100, "tools": [TOOL]}
    first = client(target).responses.create(**given, tool_choice="required", parallel_tool_calls=False)
    [item] = first.output
    assert item.type == "function_call"
    output: Any = {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
    echoed: Any = item.to_dict()
    question: Any = {"role": "user", "content": QUESTION}
    second = client(target).responses.create(**{**given, "input": [question, echoed, output]})
    assert second.status in ("completed", "incomplete")
    return json.dumps(json.loads(item.arguments))


def call_streamed(target: Target) -> str:
    given = {**options(target), "max_output_tokens": 100, "tools": [TOOL], "tool_choice": "required"}
    with client(target).responses.stream(**given, parallel_tool_calls=False) as stream:
        [item] = stream.get_final_response().output
    assert item.type == "function_call"
    return json.dumps(json.loads(item.arguments))


def skill(target: Target) -> str:
    """A tool that the server runs; the model is small, so that it is forced to."""
    tools: Any = [{"type": "skill", "name": "summarization"}]
    choice: Any = {"type": "skill", "name": "summarization"}
    found = client(target).responses.create(
        **{**options(target), "max_output_tokens": 400}, tools=tools, tool_choice=choice, parallel_tool_calls=False
    )
    return " ".join(item.type for item in found.output)


if __name__ == "__main__":
    run({
        "create": create,
        "events": events,
        "helper": helper,
        "parse": parse,
        "parse_streamed": parse_streamed,
        "chain": chain,
        "call": call,
        "call_streamed": call_streamed,
        "skill": skill,
    })  # fmt: skip
