"""A chat with tools of the server's, put together for agents/loop.py: for responses and for chat completions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from llmos_server.access.limits import Lease
from llmos_server.agents.calls import Call
from llmos_server.agents.limits import create_limits
from llmos_server.agents.loop import AgentLoop, CallEnded, LoopEvent
from llmos_server.agents.toolbox import Toolbox
from llmos_server.api.agents.asking import ChatModel
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.schemas.tools import FunctionDefinition, ToolDefinition
from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest


def create_model(
    request: Any,
    chat: ChatCompletionRequest,
    toolbox: Toolbox,
    lease: Lease,
    rename: Callable[[InvalidRequest], InvalidRequest],
) -> ChatModel:
    """chat: with the client's own functions, the first ones that it then has. rename: see ChatModel."""
    return ChatModel(request, with_tools(chat, toolbox), lease, rename)


def with_tools(chat: ChatCompletionRequest, toolbox: Toolbox) -> ChatCompletionRequest:
    """The client's own functions come first."""
    own = [_definition(tool.name, tool.description, tool.parameters) for tool in toolbox.tools.values()]
    return msgspec.structs.replace(chat, tools=[*(chat.tools or []), *own] or None)


def create_loop(
    request: Any,
    model: ChatModel,
    toolbox: Toolbox,
    tell: Callable[[LoopEvent], None],
    *,
    max_tokens: int | None,
    max_calls: int | None = None,
    approved: Sequence[Call] = (),
) -> AgentLoop:
    """max_tokens, max_calls: the request's own bounds."""
    limits = create_limits(
        services_of(request).agents, has_tools=bool(toolbox.tools), max_tokens=max_tokens, max_calls=max_calls
    )
    metrics = services_of(request).metrics

    def count(event: LoopEvent) -> None:
        if isinstance(event, CallEnded) and event.tool is not None:
            metrics.count_tool_call(event.tool.source.partition(" ")[0], is_error=event.output.is_error)
        tell(event)

    return AgentLoop(model=model, tools=toolbox.tools, limits=limits, tell=count, approved=approved)


def _definition(name: str, description: str, parameters: dict[str, Any]) -> ToolDefinition:
    function = FunctionDefinition(name=name, description=description, parameters=parameters)
    return ToolDefinition(type="function", function=function)
