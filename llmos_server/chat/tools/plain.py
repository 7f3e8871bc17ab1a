"""Tools for templates that know nothing of them: told in the system message, calls and results written as text.

The words are those that Hermes models, and after them many others, were trained with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmos_server.chat.content import PART_SEPARATOR
from llmos_server.chat.tools.hermes import BEGIN, END

Message = Mapping[str, Any]

RESULT, RESULT_END = "<tool_response>", "</tool_response>"
INSTRUCTIONS = f"""You may call functions to help with the user's request. These are their signatures:
<tools>
{{signatures}}
</tools>
To call a function, write its name and arguments as JSON, and nothing after it:
{BEGIN}
{{{{"name": "the function's name", "arguments": {{{{"parameter": "value"}}}}}}}}
{END}
What it returns comes back between {RESULT} and {RESULT_END}. Without need of a function, just answer."""


def write_plain(messages: Sequence[Message], tools: list[dict[str, Any]] | None, *, in_system: bool) -> list[Message]:
    """The messages without tool calls and tool roles. in_system: the template takes a system message; else what is in
    there goes before the first user message."""
    written = _merge_results([_write(message) for message in messages])
    if not tools:
        return written
    signatures = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    return _instruct(written, INSTRUCTIONS.format(signatures=signatures), in_system)


def _write(message: Message) -> Message:
    kept = {key: value for key, value in message.items() if key not in ("tool_calls", "tool_call_id")}
    if message.get("tool_calls"):
        calls = [_write_call(call.get("function", call)) for call in message["tool_calls"]]
        return {**kept, "content": _join(message.get("content"), "\n".join(calls), "\n")}
    if message.get("role") in ("tool", "function"):
        text = _text(message.get("content"))
        return {"role": "tool", "content": f"{RESULT}\n{text}\n{RESULT_END}"}
    return kept


def _write_call(function: Message) -> str:
    call = {"name": function.get("name"), "arguments": function.get("arguments", {})}
    return f"{BEGIN}\n{json.dumps(call, ensure_ascii=False)}\n{END}"


def _merge_results(messages: list[Message]) -> list[Message]:
    """Results become one user message, with a user's that follows: many templates want roles to alternate."""
    merged: list[Message] = []
    is_open = False
    for message in messages:
        role = message.get("role")
        if is_open and role in ("tool", "user"):
            merged[-1] = {**merged[-1], "content": _join(merged[-1]["content"], message.get("content"), "\n")}
        else:
            merged.append({**message, "role": "user"} if role == "tool" else message)
        is_open = role == "tool"
    return merged


def _instruct(messages: list[Message], text: str, in_system: bool) -> list[Message]:
    first, *rest = messages
    if in_system:
        if first.get("role") == "system":
            return [{**first, "content": _join(first.get("content"), text, "\n\n")}, *rest]
        return [{"role": "system", "content": text}, *messages]
    place = next((i for i, message in enumerate(messages) if message.get("role") == "user"), None)
    if place is None:
        return [{"role": "user", "content": text}, *messages]
    asked = {**messages[place], "content": _join(text, messages[place].get("content"), "\n\n")}
    return [*messages[:place], asked, *messages[place + 1 :]]


def _join(before: Any, after: Any, separator: str) -> str:
    return separator.join(text for text in (_text(before), _text(after)) if text)


def _text(content: Any) -> str:
    if isinstance(content, (list, tuple)):
        return PART_SEPARATOR.join(str(part.get("text", "")) for part in content)
    return "" if content is None else str(content)
