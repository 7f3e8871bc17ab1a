"""Wire messages as a chat template wants them: plain dicts of role, content and what belongs to tool calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmos_server.api.schemas.chat import ChatMessage, ContentPart
from llmos_server.chat.tools.arguments import as_object
from llmos_server.errors import InvalidRequest

Message = dict[str, Any]


def to_template_messages(messages: Sequence[ChatMessage], *, max_tool_output: int) -> list[Message]:
    """max_tool_output: characters that one tool's message may have. Raises InvalidRequest that names the message."""
    shaped = [_to_template_message(message, f"messages[{place}]") for place, message in enumerate(messages)]
    _check_results(shaped, max_tool_output)
    return shaped


def _check_results(messages: list[Message], max_tool_output: int) -> None:
    """A tool's message answers a call that an assistant's message before it has made."""
    known: set[str] = set()
    for place, message in enumerate(messages):
        ids = (call.get("id") for call in message.get("tool_calls", ()))
        known.update(call_id for call_id in ids if isinstance(call_id, str))
        if message["role"] not in ("tool", "function"):
            continue
        length = count_chars([{"content": message["content"]}])
        if length > max_tool_output:
            raise _refuse(
                f"messages[{place}].content", f"it has {length} characters; a tool's may have {max_tool_output}"
            )
        if message["role"] == "function":
            continue
        if "tool_call_id" not in message:
            raise _missing(f"messages[{place}].tool_call_id", "it says which call the message answers")
        if message["tool_call_id"] not in known:
            raise _refuse(
                f"messages[{place}].tool_call_id",
                f"no assistant message before it has a call {message['tool_call_id'][:64]!r} among its tool_calls",
            )


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
    calls = [_tool_call(call, f"{where}.tool_calls[{place}]") for place, call in enumerate(message.tool_calls or [])]
    if message.function_call:
        calls.append(_tool_call({"type": "function", "function": message.function_call}, f"{where}.function_call"))
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


def _tool_call(call: dict[str, Any], where: str) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise _missing(f"{where}.function.name", "a call names its function")
    arguments = function.get("arguments")
    return {**call, "function": {**function, "arguments": as_object(arguments)}}


def _refuse(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}.", param=param, code="invalid_value")


def _missing(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param} is missing: {reason}.", param=param, code="missing_required_parameter")
