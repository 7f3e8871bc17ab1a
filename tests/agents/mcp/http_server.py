"""MCP servers over HTTP, made with the official SDK, on a loopback port in a thread; and answers of no server."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import mcp.types as types
import uvicorn
from mcp.server.lowlevel import Server

Misbehave = Callable[[dict[str, Any], Callable[..., Awaitable[None]]], Awaitable[bool]]


async def list_tools(ctx: Any, params: Any) -> types.ListToolsResult:
    schema = {"type": "object"}
    names = ("echo", "hang", "huge", "headers")
    return types.ListToolsResult(tools=[types.Tool(name=name, input_schema=schema) for name in names])


async def call_tool(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
    text = "echo"
    if params.name == "hang":
        await anyio.sleep(3600)
    if params.name == "huge":
        text = "x" * 50_000_000
    if params.name == "headers":
        text = json.dumps(dict(ctx.request.headers))
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


def create_app(*, is_json: bool = False) -> Any:
    server: Server[Any] = Server("remote", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    return server.streamable_http_app(json_response=is_json)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """Gives http://127.0.0.1:PORT."""
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


class Scripted:
    """An app that gives each request the next answer: (status, headers, body); the last one again and again."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.answers = list(answers)
        self.paths: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        self.paths.append(scope["path"])
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": body})
