"""The limits of docs/api.md that a body can exceed: the largest value passes, the next is a 400 naming its field."""

from __future__ import annotations

from typing import Any

import pytest

USER = {"role": "user", "content": "x"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLING = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c"}
PART = {"type": "text", "text": "x"}


def chat(**fields: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/chat/completions", {"messages": [USER], "max_tokens": 1, **fields}


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def complete(**fields: Any) -> tuple[str, dict[str, Any]]:
    return "/v1/completions", {"prompt": "x", "max_tokens": 1, **fields}


LIMITS: dict[str, tuple[Any, int]] = {
    "messages": (lambda n: chat(messages=[USER] * n), 4096),
    "messages[0].content": (lambda n: chat(messages=[{"role": "user", "content": [PART] * n}]), 4096),
    "messages[0].tool_calls": (lambda n: chat(messages=[{"role": "assistant", "tool_calls": [CALL] * n}, USER]), 128),
    "tools": (lambda n: chat(tools=[tool(f"f{i}") for i in range(n)]), 128),
    "tools[0].function.name": (lambda n: chat(tools=[tool("f" * n)]), 128),
    "messages[1].content": (lambda n: chat(messages=[CALLING, {**RESULT, "content": "x" * n}]), 2**20),
    "n": (lambda n: chat(n=n), 64),
    "best_of": (lambda n: complete(best_of=n), 64),
    "prompt": (lambda n: complete(prompt=["x"] * n), 256),
    "stop": (lambda n: chat(stop=["y"] * n), 16),
    "stop[0]": (lambda n: chat(stop=["y" * n]), 512),
    "stop_token_ids": (lambda n: chat(stop_token_ids=[7] * n), 256),
    "top_logprobs": (lambda n: chat(logprobs=True, top_logprobs=n), 20),
    "logprobs": (lambda n: complete(logprobs=n), 20),
    "cache_salt": (lambda n: chat(cache_salt="s" * n), 256),
    "seed": (lambda n: chat(seed=n), 2**63 - 1),
}


@pytest.mark.parametrize("param", LIMITS)
async def test_the_largest_passes_and_the_next_is_named(make_api, param):
    make, most = LIMITS[param]
    api = make_api(max_model_len=2 * 10**6)
    path, body = make(most)
    assert (await api.post(path, body)).status_code == 200
    path, body = make(most + 1)
    reply = await api.post(path, body)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


async def test_too_many_biases(api):
    reply = await api.chat(logit_bias={str(token): 1 for token in range(1025)})
    assert reply.status_code == 400
    assert "more than 1024" in reply.json()["error"]["message"]


async def test_too_many_choices_of_all_prompts_together(make_api):
    api = make_api()
    reply = await api.complete(["x"] * 65, n=64)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "prompt")
    assert api.generator.requests == []
