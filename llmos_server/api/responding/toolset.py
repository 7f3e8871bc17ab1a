"""`tools` and `tool_choice` of a response: the client's functions, and where the server's own tools come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmos_server.agents.tool_source import ToolProvider, ToolSource
from llmos_server.agents.toolbox import Toolbox
from llmos_server.api.bodies.body import convert
from llmos_server.api.http.access import principal_of
from llmos_server.api.responding.history import function_name
from llmos_server.api.schemas.tools import FunctionDefinition, ToolDefinition
from llmos_server.errors import InvalidRequest

HOSTED = {
    "web_search": "the server doesn't search the web; describe a search of yours as a function, or name an MCP server",
    "file_search": "there are no vector stores here; describe a search of yours as a function",
    "code_interpreter": "describe one of yours as a function, or send the skill code as {'type': 'skill'}",
    "computer": "this server controls no computer",
    "image_generation": "answers are text only",
    "local_shell": "describe your shell as a function",
    "shell": "describe your shell as a function",
    "apply_patch": "describe it as a function",
    "custom": "describe it as a function with one string",
    "tool_search": "all tools are told to the model at once; leave it out",
}
"""By the begin of the type."""
OWN_TYPES = ("skill", "plugin_tool")
SECRET = ("authorization", "headers")
"""Never echoed, nor stored."""


@dataclass(kw_only=True)
class Function:
    """One of the client's."""

    name: str
    namespace: str | None = None


@dataclass(kw_only=True)
class Toolset:
    """Of one request."""

    definitions: list[ToolDefinition] = field(default_factory=list)
    """The client's functions, as a chat has them."""
    functions: dict[str, Function] = field(default_factory=dict)
    """The same, by the name that the model calls."""
    places: list[str] = field(default_factory=list)
    """Of each definition: where in the request it comes from."""
    sources: list[ToolSource] = field(default_factory=list)
    labels: dict[tuple[str, Any], str] = field(default_factory=dict)
    """Of sources, by the type and the name of their entries."""
    ignored: list[str] = field(default_factory=list)
    """Places of tools that the model does without, and that change nothing for it."""
    shown: list[dict[str, Any]] = field(default_factory=list)
    """As the response shows them: without secrets."""


class _FunctionTool(FunctionDefinition, kw_only=True, forbid_unknown_fields=True):
    type: str


def read_tools(request: Any, tools: list[dict[str, Any]], providers: Mapping[str, ToolProvider]) -> Toolset:
    """tools: checked for fields. Raises InvalidRequest that names the place, and Forbidden."""
    toolset = Toolset()
    for place, tool in enumerate(tools):
        where = f"tools[{place}]"
        kind = tool.get("type")
        if kind == "function":
            _add_function(toolset, tool, where, None)
        elif kind == "namespace":
            _add_namespace(toolset, tool, where)
        elif isinstance(kind, str) and kind in providers:
            source = providers[kind].open(tool, where=where, principal=principal_of(request), request=request)
            toolset.sources.append(source)
            toolset.labels[kind, tool.get("name")] = source.label
        elif isinstance(kind, str) and kind.startswith("web_search") and tool.get("external_web_access") is False:
            toolset.ignored.append(where)
            continue
        else:
            raise _unsupported(kind, where, [*providers])
        toolset.shown.append(_shown(tool, toolset))
    return toolset


def _add_namespace(toolset: Toolset, tool: dict[str, Any], where: str) -> None:
    name, tools = tool.get("name"), tool.get("tools")
    if not isinstance(name, str) or not isinstance(tools, list):
        raise _refusal(where, "a namespace has a name, and tools, which is a list of functions")
    for place, inner in enumerate(tools):
        inside = f"{where}.tools[{place}]"
        if not isinstance(inner, dict) or inner.get("type") != "function":
            raise _refusal(f"{inside}.type", "a namespace holds functions only")
        _add_function(toolset, inner, inside, name)


def _add_function(toolset: Toolset, tool: dict[str, Any], where: str, namespace: str | None) -> None:
    if isinstance(tool.get("function"), dict):
        raise _refusal(
            f"{where}.function",
            "here a tool's name and parameters stand beside its type, not in an object of their own",
        )
    try:
        wire = convert(tool, _FunctionTool)
    except InvalidRequest as error:
        place = f"{where}.{error.param}" if error.param else where
        raise InvalidRequest(f"{where}: {error}", param=place, code=error.code) from None
    name = function_name(namespace, wire.name)
    definition = FunctionDefinition(
        name=name, description=wire.description, parameters=wire.parameters, strict=wire.strict
    )
    toolset.definitions.append(ToolDefinition(type="function", function=definition))
    toolset.functions[name] = Function(name=wire.name, namespace=namespace)
    toolset.places.append(where)


def _unsupported(kind: Any, where: str, known: list[str]) -> InvalidRequest:
    name = str(kind)[:40]
    remedy = next((text for begin, text in HOSTED.items() if name.startswith(begin)), "")
    supported = ", ".join(["function", "namespace", *known])
    return InvalidRequest(
        f"{where}.type: {name!r} tools aren't supported{': ' + remedy if remedy else ''}. Supported: {supported}.",
        param=f"{where}.type",
        code="unsupported_value",
    )


def _shown(tool: dict[str, Any], toolset: Toolset) -> dict[str, Any]:
    """Clients know no types but OpenAI's: what only this server has is shown as an MCP server's, as its items are."""
    kind = tool["type"]
    if kind in OWN_TYPES:
        approval = tool.get("require_approval")
        return {
            "type": "mcp",
            "server_label": toolset.labels[kind, tool["name"]],
            "allowed_tools": [tool["name"]],
            **({} if approval is None else {"require_approval": approval}),
        }
    shown = {name: value for name, value in tool.items() if name not in SECRET}
    if kind == "function":
        shown = {"description": None, "parameters": None, "strict": False, **shown}
    return shown


def shown_choice(choice: Any, toolset: Toolset) -> Any:
    """tool_choice as the response shows it."""
    if choice is None:
        return "auto"
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") == "allowed_tools" and isinstance(choice.get("tools"), list):
        return {**choice, "tools": [shown_choice(tool, toolset) for tool in choice["tools"]]}
    label = toolset.labels.get((str(choice.get("type")), choice.get("name")))
    if choice.get("type") not in OWN_TYPES or label is None:
        return choice
    return {"type": "mcp", "server_label": label, "name": choice["name"]}


def choose(choice: Any, toolset: Toolset, toolbox: Toolbox) -> Any:
    """tool_choice as a chat has it. Raises InvalidRequest."""
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") == "allowed_tools":
        tools = choice.get("tools")
        if not isinstance(tools, list):
            raise _refusal("tool_choice.tools", "it is a list of tools")
        found = [
            name
            for place, tool in enumerate(tools)
            for name in _named(tool, f"tool_choice.tools[{place}]", toolset, toolbox)
        ]
        mode = choice.get("mode")
        if mode not in ("auto", "required"):
            raise _refusal("tool_choice.mode", "send auto or required")
        return _allowed(found, mode)
    found = _named(choice, "tool_choice", toolset, toolbox)
    if len(found) == 1:
        return {"type": "function", "function": {"name": found[0]}}
    return _allowed(found, "required")


def _allowed(names: list[str], mode: str) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def _named(tool: Any, where: str, toolset: Toolset, toolbox: Toolbox) -> list[str]:
    """Names that the model knows, at least one."""
    kind = tool.get("type") if isinstance(tool, dict) else None
    if kind == "function":
        name = function_name(tool.get("namespace"), str(tool.get("name")))
        found = [name] if name in toolset.functions else []
    elif kind in ("mcp", *OWN_TYPES):
        label = tool.get("server_label") if kind == "mcp" else None
        wanted = tool.get("name")
        found = [
            known.name
            for known in toolbox.tools.values()
            if (label == known.label if kind == "mcp" else _is_of(kind, known.label))
            and (wanted is None or wanted == known.shown_name)
        ]
    else:
        raise InvalidRequest(
            f"{where}: {str(kind)[:40]!r} can't be chosen here; send auto, none, required, a function, mcp, skill, "
            "plugin_tool or allowed_tools.",
            param=where,
            code="unsupported_value",
        )
    if not found:
        raise _refusal(where, "it is none of the tools")
    return found


def _is_of(kind: str, label: str) -> bool:
    return label == "skills" if kind == "skill" else label.startswith("plugin:")


def _refusal(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}.", param=param, code="invalid_value")
