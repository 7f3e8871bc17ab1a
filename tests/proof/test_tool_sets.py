"""Random tool sets against the real default model: every finished call validates, streamed or not, in every mode."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from tool_sets import create_tools

NUM_CLIENTS = 8
SECONDS = 600
"""No answer takes nearly as long, even on a busy machine."""
QUESTIONS = ["What's the weather in Rome?", "Find me three items, please.", "Hello!", "東京から大阪まで"]


@pytest.fixture(scope="module")
def live(smollm2: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    spec = importlib.util.spec_from_file_location("e2e_conftest", Path(__file__).parents[1] / "e2e" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["e2e_conftest"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = module.start_server(tmp_path_factory.mktemp("tools"), smollm2.name)
    server.wait_until_ready()
    yield server.url
    server.stop()


def bodies(seed: int, max_tokens: int) -> list[dict[str, Any]]:
    """One for each mode; "none", which is any chat, for some seeds only."""
    tools = create_tools(seed)
    name = tools[seed % len(tools)]["function"]["name"]
    named = {"type": "function", "function": {"name": name}}
    base = {
        "messages": [{"role": "user", "content": QUESTIONS[seed % len(QUESTIONS)]}],
        "tools": tools,
        "seed": seed,
        "max_tokens": max_tokens,
        "parallel_tool_calls": bool(seed % 3),
    }
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named]}}
    choices: list[Any] = ["auto", "required", named if seed % 2 else allowed, *(["none"] if seed % 10 == 0 else [])]
    return [{**base, "tool_choice": choice} for choice in choices]


async def ask(http: httpx2.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    reply = await http.post("/v1/chat/completions", json=body)
    assert reply.status_code == 200, (reply.text, body)
    choice: dict[str, Any] = reply.json()["choices"][0]
    return choice


async def ask_streamed(http: httpx2.AsyncClient, body: dict[str, Any]) -> dict[str, Any]:
    reply = await http.post("/v1/chat/completions", json={**body, "stream": True})
    assert reply.status_code == 200, (reply.text, body)
    choice: dict[str, Any] = {"message": {"content": None}}
    calls: list[dict[str, Any]] = []
    for line in reply.text.splitlines():
        if not line.startswith("data: {"):
            continue
        event = json.loads(line.removeprefix("data: "))
        assert "error" not in event, (event, body)
        [chunk] = event["choices"]
        if chunk["delta"].get("content") is not None:
            choice["message"]["content"] = (choice["message"]["content"] or "") + chunk["delta"]["content"]
        for piece in chunk["delta"].get("tool_calls", ()):
            if "id" in piece:
                calls.append({**piece, "function": dict(piece["function"])})
            else:
                calls[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
        choice |= {key: chunk[key] for key in ("finish_reason", "format_error") if chunk.get(key)}
    return {**choice, "message": {**choice["message"], **({"tool_calls": calls} if calls else {})}}


def same(choice: dict[str, Any]) -> Any:
    """What a seed repeats."""
    calls = [call["function"] for call in choice["message"].get("tool_calls", ())]
    return choice["message"]["content"], calls, choice["finish_reason"], choice.get("format_error")


def check(body: dict[str, Any], choice: dict[str, Any]) -> str:
    """How it ended."""
    functions = {tool["function"]["name"]: tool["function"] for tool in body["tools"]}
    mode, calls = body["tool_choice"], choice["message"].get("tool_calls", [])
    finished = choice["finish_reason"]
    if mode == "none":
        assert calls == []
    if finished == "length":
        return "length"
    assert finished == ("tool_calls" if calls else "stop")
    assert mode in ("auto", "none") or calls
    assert body["parallel_tool_calls"] or len(calls) <= 1
    assert mode not in ("auto", "required", "none") or "format_error" not in choice
    for call in calls:
        arguments = json.loads(call["function"]["arguments"])
        schema = functions[call["function"]["name"]].get("parameters", {"type": "object", "maxProperties": 0})
        jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(arguments)
    if isinstance(mode, dict):
        tool = mode.get("function") or mode["allowed_tools"]["tools"][0]["function"]
        assert {call["function"]["name"] for call in calls} == {tool["name"]}
    return str(finished)


async def run(url: str, seeds: range, max_tokens: int) -> Counter[str]:
    places = asyncio.Semaphore(NUM_CLIENTS)
    counts: Counter[str] = Counter()
    async with httpx2.AsyncClient(base_url=url, timeout=SECONDS) as http:

        async def one(body: dict[str, Any]) -> None:
            async with places:
                whole, streamed = await ask(http, body), await ask_streamed(http, body)
            assert same(streamed) == same(whole), body
            mode = body["tool_choice"] if isinstance(body["tool_choice"], str) else "named"
            counts[f"{mode}: {check(body, whole)}"] += 1

        async with asyncio.TaskGroup() as group:
            for seed in seeds:
                for body in bodies(seed, max_tokens):
                    group.create_task(one(body))
    return counts


@pytest.mark.real_model
async def test_a_sample_of_tool_sets(live: str) -> None:
    counts = await run(live, range(2), 48)
    assert counts["required: tool_calls"] > 0
    assert counts["named: tool_calls"] > 0


@pytest.mark.proof
@pytest.mark.real_model
async def test_200_tool_sets(live: str, record_property: Any) -> None:
    counts = await run(live, range(1000, 1200), 120)
    record_property("answers to 200 tool sets, each streamed as well", dict(sorted(counts.items())))
    for mode in ("required", "named"):
        assert counts[f"{mode}: tool_calls"] > counts[f"{mode}: length"]
