"""Wire messages as a chat template wants them: plain dicts of role, content and what belongs to tool calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from llmos_server.api.schemas.chat import ChatMessage, ContentPart
from llmos_server.errors import InvalidRequest

Message = dict[str, Any]


def to_template_messages(messages: Sequence[ChatMessage]) -> list[Message]:
    """Raises InvalidRequest that names the message."""
    return [_to_template_message(message, f"messages[{place}]") for place, message in enumerate(messages)]


def count_chars(messages: Sequence[Mapping[str, Any]]) -> int:
    """How much text there is, roughly: what rendering and encoding will cost."""
    return sum(len(str(value)) for message in messages for value in message.values())


def _to_template_message(message: ChatMessage, where: str) -> Message:
    role = "system" if message.role == "developer" else message.role
    shaped: Message = {"role": role, "content": _content(message, where)}
    if message.name is not None:
        shaped["name"] = message.name
    if message.tool_call_id is not None:
        shaped["tool_call_id"] = message.tool_call_id
    calls = [_tool_call(call) for call in message.tool_calls or []]
    if message.function_call:
        calls.append(_tool_call({"type": "function", "function": message.function_call}))
    if calls:
        shaped["tool_calls"] = calls
    reasoning = message.reasoning_content if message.reasoning_content is not None else message.reasoning
    if reasoning:
        shaped["reasoning_content"] = reasoning
    return shaped


def _content(message: ChatMessage, where: str) -> str | list[dict[str, str]]:
    """A list stays a list: the renderer knows whether the template reads parts."""
    if isinstance(message.content, str):
        return message.content
    if message.content is not None:
        return [
            {"type": "text", "text": _part_text(part, f"{where}.content[{place}]")}
            for place, part in enumerate(message.content)
        ]
    if message.role == "assistant":
        return message.refusal or ""
    raise InvalidRequest(
        f"{where}.content is missing; only an assistant's may be null.",
        param=f"{where}.content",
        code="missing_required_parameter",
    )


def _part_text(part: ContentPart, where: str) -> str:
    text = part.refusal if part.type == "refusal" else part.text
    if text is None:
        field = "refusal" if part.type == "refusal" else "text"
        raise InvalidRequest(
            f"{where}.{field} is missing.", param=f"{where}.{field}", code="missing_required_parameter"
        )
    return text


def _tool_call(call: dict[str, Any]) -> dict[str, Any]:
    """Templates write the arguments as JSON themselves, so a JSON string is handed over as what it says."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = msgspec.json.decode(function["arguments"])
    except (msgspec.DecodeError, RecursionError):
        return call
    return {**call, "function": {**function, "arguments": arguments}} if isinstance(arguments, dict) else call
