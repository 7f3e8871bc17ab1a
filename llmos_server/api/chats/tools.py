"""tools, tool_choice and parallel_tool_calls: what the model is told of, and what it may or must call."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.schemas.tools import FunctionDefinition, ToolDefinition
from llmos_server.chat.tools.tool import Tool, create_tool
from llmos_server.errors import InvalidRequest

NAME = re.compile(r"[a-zA-Z0-9_.-]{1,128}")
CHOICES = 'none, auto, required, {"type": "function", "function": {"name": ...}} or allowed_tools'


class ToolPlan(NamedTuple):
    told: list[Tool]
    """In the prompt."""
    callable: list[Tool]
    is_required: bool
    is_parallel: bool


def plan_tools(data: ChatCompletionRequest, max_tools: int) -> ToolPlan | None:
    """None where nothing may be called. Checks every schema: takes a while the first time. Raises InvalidRequest."""
    definitions = data.tools or []
    choice = _choice(data.tool_choice, [tool.function.name for tool in definitions if tool.function])
    tools = read_tools(definitions, max_tools)
    if not tools or choice.mode == "none":
        return None
    return ToolPlan(
        told=tools,
        callable=[tool for tool in tools if choice.names is None or tool.name in choice.names],
        is_required=choice.mode == "required",
        is_parallel=data.parallel_tool_calls is not False,
    )


def read_tools(definitions: list[ToolDefinition], max_tools: int) -> list[Tool]:
    """Raises InvalidRequest that names the place."""
    if len(definitions) > max_tools:
        raise _refusal("tools", f"there are {len(definitions)}; this server takes at most {max_tools}")
    functions = [_function(tool, f"tools[{place}]") for place, tool in enumerate(definitions)]
    names = [function.name for function in functions]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise _refusal(f"tools[{place}].function.name", f"{name!r} is there twice; names tell tools apart")
    return [
        create_tool(
            function.name,
            function.description,
            function.parameters,
            strict=bool(function.strict),
            param=f"tools[{place}].function.parameters",
        )
        for place, function in enumerate(functions)
    ]


def _function(tool: ToolDefinition, where: str) -> FunctionDefinition:
    require_function(tool.type, where)
    if tool.function is None:
        raise _missing(f"{where}.function")
    if not NAME.fullmatch(tool.function.name):
        raise _refusal(f"{where}.function.name", "a name is 1 to 128 letters, digits, underscores, hyphens and dots")
    return tool.function


def require_function(kind: object, where: str) -> None:
    """Raises InvalidRequest for a tool of another type, whatever else it has."""
    if isinstance(kind, str) and kind != "function":
        remedy = "only functions are; describe what it does as a function, or leave it out"
        raise _refusal(f"{where}.type", f"{kind[:40]!r} tools aren't supported, {remedy}", "unsupported_value")


class _Choice(NamedTuple):
    mode: str
    names: set[str] | None = None


def _choice(choice: Any, names: list[str]) -> _Choice:
    """names: of the tools that are there."""
    if choice is None:
        return _Choice("auto")
    if choice in ("none", "auto"):
        return _Choice(choice)
    if choice == "required":
        if not names:
            raise _refusal("tool_choice", "required needs tools")
        return _Choice("required")
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind == "function":
        return _Choice("required", {_named(choice, "tool_choice", names)})
    if kind == "allowed_tools":
        return _allowed(choice.get("allowed_tools"), names)
    raise _refusal("tool_choice", f"send {CHOICES}")


def _allowed(wanted: Any, names: list[str]) -> _Choice:
    where = "tool_choice.allowed_tools"
    if not isinstance(wanted, dict) or not isinstance(wanted.get("tools"), list) or not wanted["tools"]:
        raise _refusal(where, "it is an object with mode and tools, of which there is at least one")
    if wanted.get("mode") not in ("auto", "required"):
        raise _refusal(f"{where}.mode", "send auto or required")
    chosen = {_named(tool, f"{where}.tools[{place}]", names) for place, tool in enumerate(wanted["tools"])}
    return _Choice(wanted["mode"], chosen)


def _named(tool: Any, where: str, names: list[str]) -> str:
    function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str):
        raise _refusal(where, 'it is {"type": "function", "function": {"name": ...}}')
    if name not in names:
        raise _refusal(f"{where}.function.name", f"{name[:128]!r} is none of the tools")
    return name


def _refusal(param: str, reason: str, code: str = "invalid_value") -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}.", param=param, code=code)


def _missing(param: str) -> InvalidRequest:
    return InvalidRequest(f"{param} is missing.", param=param, code="missing_required_parameter")
