"""The captured requests of coding agents, answered by a call of one of their own tools."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from recorder import sample

DATA = Path(__file__).parents[1] / "data" / "clients"
AGENTS = ("claude-code", "cline", "continue", "cursor", "opencode", "zed")
PATHS = ("/v1/chat/completions", "/v1/messages")


def load(path: Path) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return sent


def has_tools(sent: dict[str, Any]) -> bool:
    body = sent["body"] or {}
    return sent["path"].partition("?")[0] in PATHS and bool(body.get("tools")) and bool(body.get("stream"))


REFUSED = json.loads((DATA / "refused.json").read_text(encoding="utf-8"))
FILES = {str(path.relative_to(DATA)): path for agent in AGENTS for path in DATA.glob(f"{agent}-*/*.json")}
NAMES = sorted(name for name, path in FILES.items() if has_tools(load(path)) and name not in REFUSED)


@pytest.mark.parametrize("name", NAMES)
async def test_a_call_comes_back(
    name: str, serve: Callable[[str], AbstractAsyncContextManager[httpx2.AsyncClient]]
) -> None:
    sent = load(DATA / name)
    tool = sent["body"]["tools"][0]
    function = tool.get("function", tool)
    arguments = sample(function.get("parameters") or function.get("input_schema") or {})
    call = json.dumps({"name": function["name"], "arguments": arguments})
    async with serve(f"<tool_call>\n{call}\n</tool_call>") as http:
        answer = await http.post(sent["path"], headers=sent["headers"], content=json.dumps(sent["body"]))
    assert answer.status_code == 200, answer.text
    lines = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
    events = [json.loads(line) for line in lines if line != "[DONE]"]
    found = of_messages(events) if sent["path"].startswith("/v1/messages") else of_chat(events)
    assert found == (function["name"], json.dumps(arguments))


def of_messages(events: list[dict[str, Any]]) -> tuple[str, str]:
    blocks = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert [event["delta"]["stop_reason"] for event in events if event["type"] == "message_delta"] == ["tool_use"]
    return blocks[0]["name"], "".join(delta["partial_json"] for delta in deltas)


def of_chat(events: list[dict[str, Any]]) -> tuple[str, str]:
    choices = [event["choices"][0] for event in events if event["choices"]]
    calls = [call["function"] for choice in choices for call in choice["delta"].get("tool_calls") or []]
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["tool_calls"]
    return calls[0]["name"], "".join(call.get("arguments", "") for call in calls)
