"""The tools of an example, and the calls in its messages, as chat templates take them when the model is served."""

from __future__ import annotations

import re
from typing import Any

from llmos_server.chat.tools.arguments import as_object
from llmos_server.chat.tools.tool import describe_function
from llmos_server.data.findings import Finder, kind_of, shown

NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")


def read_tools(line: dict[str, Any], prefix: str, finder: Finder) -> list[dict[str, Any]] | None:
    """tools, or functions as they were once called. None where there are none."""
    if (value := line.get("tools")) is not None:
        return _read_list(value, f"{prefix}tools", finder, is_wrapped=True)
    if (value := line.get("functions")) is not None:
        return _read_list(value, f"{prefix}functions", finder, is_wrapped=False)
    return None


def _read_list(value: Any, field: str, finder: Finder, *, is_wrapped: bool) -> list[dict[str, Any]] | None:
    if not isinstance(value, list):
        finder.refuse(field, "wrong_type", f"It is {kind_of(value)}; it is a list of functions.")
        return None
    read = [_read_tool(tool, f"{field}[{place}]", finder, is_wrapped) for place, tool in enumerate(value)]
    return [tool for tool in read if tool is not None] or None


def _read_tool(tool: Any, field: str, finder: Finder, is_wrapped: bool) -> dict[str, Any] | None:
    if is_wrapped and isinstance(tool, dict):
        if tool.get("type") != "function":
            finder.refuse(f"{field}.type", "bad_tool", f"It is {shown(tool.get('type'))}; only function is served.")
            return None
        tool, field = tool.get("function"), f"{field}.function"
    if not isinstance(tool, dict):
        finder.refuse(field, "bad_tool", f"It is {kind_of(tool)}; it is an object with name and parameters.")
        return None
    name, about, parameters = tool.get("name"), tool.get("description"), tool.get("parameters")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        finder.refuse(f"{field}.name", "bad_tool", "A name is 1 to 128 letters, digits, underscores, hyphens and dots.")
        return None
    if about is not None and not isinstance(about, str):
        finder.refuse(f"{field}.description", "wrong_type", f"It is {kind_of(about)}; it is a string.")
        return None
    if parameters is not None and not isinstance(parameters, dict):
        finder.refuse(f"{field}.parameters", "wrong_type", f"It is {kind_of(parameters)}; it is a JSON Schema.")
        return None
    return describe_function(name, about, parameters)


def read_calls(message: dict[str, Any], field: str, names: set[str], finder: Finder) -> list[dict[str, Any]]:
    """tool_calls and function_call of an assistant's message. names: of the example's tools."""
    value = message.get("tool_calls") or []
    if not isinstance(value, list):
        finder.refuse(f"{field}.tool_calls", "wrong_type", f"It is {kind_of(value)}; it is a list of calls.")
        return []
    places = [(call, f"{field}.tool_calls[{place}]") for place, call in enumerate(value)]
    if (old := message.get("function_call")) is not None:
        places.append(({"type": "function", "function": old}, f"{field}.function_call"))
    read = [_read_call(call, place, names, finder) for call, place in places]
    return [call for call in read if call is not None]


def _read_call(call: Any, field: str, names: set[str], finder: Finder) -> dict[str, Any] | None:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        finder.refuse(
            field, "bad_tool_call", 'A call is {"id": ..., "type": "function", "function": {"name": ..., "arguments"}}.'
        )
        return None
    if function["name"] not in names:
        known = ", ".join(sorted(names)[:5]) or "none"
        finder.refuse(
            f"{field}.function.name",
            "bad_tool_call",
            f"It calls {shown(function['name'])}, which isn't among the example's tools ({known}); describe it there.",
        )
        return None
    arguments = as_object(function.get("arguments"))
    if isinstance(function.get("arguments"), str) and arguments == {"arguments": function["arguments"]}:
        finder.refuse(
            f"{field}.function.arguments", "bad_tool_call", "It is the text of a JSON object, and this is none."
        )
        return None
    return {**call, "function": {**function, "arguments": arguments}}
