"""Lines as TRL has its conversations, in the words of OpenAI's formats. Plain strings aren't chats, and stay as they
are."""

from __future__ import annotations

from typing import Any

_NAMES = ("prompt", "chosen", "rejected")


def with_messages(line: dict[str, Any]) -> dict[str, Any]:
    """prompt and completion, or prompt alone -> messages. Only the completion is learned."""
    prompt, completion = line.get("prompt"), line.get("completion", [])
    if "messages" in line or not isinstance(prompt, list) or not isinstance(completion, list):
        return line
    read = [_unlearned(message) for message in prompt]
    others = {name: value for name, value in line.items() if name not in ("prompt", "completion")}
    return {**others, "messages": [*read, *completion]}


def with_outputs(line: dict[str, Any]) -> dict[str, Any]:
    """prompt, chosen and rejected -> input and two outputs."""
    if "input" in line or not all(isinstance(line.get(name), list) for name in _NAMES):
        return line
    others = {name: value for name, value in line.items() if name not in (*_NAMES, "tools")}
    tools = {"tools": line["tools"]} if "tools" in line else {}
    asked = {"messages": line["prompt"], **tools}
    return {**others, "input": asked, "preferred_output": line["chosen"], "non_preferred_output": line["rejected"]}


def _unlearned(message: Any) -> Any:
    is_answer = isinstance(message, dict) and message.get("role") == "assistant"
    return {**message, "weight": 0} if is_answer else message
