"""An MCP server on the official SDK, over stdin and stdout,: python stdio_server.py MODE. Its tools are called
after what they do."""

from __future__ import annotations

import os
import sys
from typing import Any

import anyio
import mcp.types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged

MODE = sys.argv[1] if len(sys.argv) > 1 else "honest"
NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}}
extra: list[str] = []
bus = InMemorySubscriptionBus()


def tool(name: str, schema: dict[str, Any] = TEXT, output: dict[str, Any] | None = None) -> types.Tool:
    return types.Tool(name=name, description=f"Does {name}.", input_schema=schema, output_schema=output)


TOOLS = [
    tool("echo"),
    tool("double", NUMBER, {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
    tool("lie", NUMBER, {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
    *map(tool, ("fail", "long", "env", "grow", "picture")),
]


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    if MODE == "bad-schema":
        bad = tool("bad", {"type": "object", "properties": {"x": {"type": "nonsense"}}})
        large = tool("large", {"type": "object", "description": "x" * 40_000})
        return types.ListToolsResult(tools=[bad, large, *TOOLS, *map(tool, extra)])
    return types.ListToolsResult(tools=[*TOOLS, *map(tool, extra)])


async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    given = params.arguments or {}
    match params.name:
        case "double":
            made = {"n": 2 * given["n"]}
            return types.CallToolResult(content=[said(f'{{"n": {made["n"]}}}')], structured_content=made)
        case "lie":
            return types.CallToolResult(content=[], structured_content={"n": "many"})
        case "fail":
            return types.CallToolResult(content=[said("it went wrong")], is_error=True)
        case "long":
            return types.CallToolResult(content=[said("é" * 100_000)])
        case "env":
            return types.CallToolResult(content=[said("\n".join(f"{k}={v}" for k, v in sorted(os.environ.items())))])
        case "grow":
            extra.append(given.get("text", "grown"))
            await bus.publish(ToolsListChanged())
        case "picture":
            picture = types.ImageContent(type="image", data="AAAA", mime_type="image/png")
            link = types.ResourceLink(type="resource_link", name="manual", uri="file:///manual")
            return types.CallToolResult(content=[said("see"), picture, link])
    return types.CallToolResult(content=[said(f"{params.name}: {given.get('text', '')} ({os.getpid()})")])


def said(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text)


async def main() -> None:
    server: Server[Any] = Server(
        "test",
        version="1",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_subscriptions_listen=ListenHandler(bus),
    )
    async with stdio_server() as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


anyio.run(main)
