"""One live connection to an MCP server, on the official SDK. Nothing else of this folder but its transports needs the
SDK, whose import takes a second: this module is imported in a thread, by the first server that starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import mcp.types as types
from mcp.client import Client, IncomingMessage
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import listen
from mcp.shared.exceptions import MCPError

from llmos_server import __version__
from llmos_server.agents.mcp.declared import Declared
from llmos_server.agents.mcp.failures import McpFailed, ToolMissing, clip, first_of
from llmos_server.agents.mcp.http import BoundedTransport, create_http_client
from llmos_server.agents.mcp.process import HeldProcess, started
from llmos_server.agents.mcp.stdio import over_stdio

MAX_PAGES = 16
"""Of a list of tools."""
NOTIFICATIONS_PER_SECOND = 100
"""On average. Each costs this process's event loop some time."""
MAX_NOTIFICATIONS = 2000
"""At once."""


class Connection:
    """Made by `connect`."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        """on_end: called where it ends by itself, before anybody waits for it."""
        self.ended = asyncio.Event()
        self.reason = ""
        """Why it has ended."""
        self.changed = asyncio.Event()
        """The server has told that its tools are others now."""
        self.process: HeldProcess | None = None
        self.http: BoundedTransport | None = None
        self._client: Client | None = None
        self._on_end = on_end
        self._notifications_left = float(MAX_NOTIFICATIONS)
        self._last_message = time.monotonic()

    def end(self, reason: str) -> None:
        """The first reason counts. Whoever has connected then leaves."""
        if not self.ended.is_set():
            self.reason = reason
            self.ended.set()
            self._on_end()

    async def list_tools(self) -> list[types.Tool]:
        """Raises what the SDK does."""
        tools: list[types.Tool] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._live().list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if not cursor:
                return tools
        raise McpFailed(f"has a list of tools that doesn't end within {MAX_PAGES} pages")

    async def call(self, tool: str, arguments: dict[str, Any], seconds: float) -> types.CallToolResult:
        """Raises McpFailed and TimeoutError. Not by the SDK's call_tool: that checks results in this thread, by schemas
        that may keep it busy for ever."""
        params = types.CallToolRequestParams(name=tool, arguments=arguments)
        try:
            return await self._live().session.send_request(
                types.CallToolRequest(params=params), types.CallToolResult, request_read_timeout_seconds=seconds
            )
        except MCPError as error:
            if error.code == types.REQUEST_TIMEOUT:
                raise TimeoutError from None
            if error.code == types.CONNECTION_CLOSED:
                await asyncio.sleep(0)  # The transport says why it has ended.
                raise McpFailed(f"{self.reason or 'closed the connection'} during the call") from None
            if error.message == "Session terminated":  # What the SDK makes of a 404.
                self.end("has forgotten the session")
            if error.code in (types.METHOD_NOT_FOUND, types.INVALID_PARAMS):
                self.changed.set()  # Perhaps it has other tools by now.
                raise ToolMissing(f"refused the call: {clip(error.message)}") from None
            raise McpFailed(f"answered with an error: {clip(error.message)}{self._status()}") from None
        except (ValueError, RuntimeError):
            raise McpFailed("answered what is no result of a tool") from None

    def describe(self, error: BaseException) -> str:
        """Of what has ended the connection, or kept it from being made."""
        if self.ended.is_set():
            return self.reason
        error = first_of(error)
        if isinstance(error, McpFailed):
            return str(error)
        text = clip(str(error)) or type(error).__name__
        if isinstance(error, MCPError):
            return f"answered: {text}{self._status()}"
        if isinstance(error, ValueError):
            return "answered what isn't MCP"
        return f"can't be reached: {text} ({type(error).__name__}){self._status()}"

    def _status(self) -> str:
        status = None if self.http is None else self.http.last_refusal
        return f" (HTTP {status})" if status else ""

    def _live(self) -> Client:
        if self._client is None or self.ended.is_set():
            raise McpFailed(self.reason or "isn't connected")
        return self._client

    async def on_message(self, message: IncomingMessage) -> None:
        """Of notifications, and of what is no message at all."""
        now = time.monotonic()
        left = self._notifications_left + (now - self._last_message) * NOTIFICATIONS_PER_SECOND
        self._notifications_left, self._last_message = min(left, MAX_NOTIFICATIONS) - 1, now
        if self._notifications_left < 0:
            self.end(f"sent more than {NOTIFICATIONS_PER_SECOND} notifications a second")
        if isinstance(message, types.ToolListChangedNotification):
            self.changed.set()


@asynccontextmanager
async def connect(
    connection: Connection, declared: Declared, create_transport: Callable[[], BoundedTransport]
) -> AsyncIterator[None]:
    """connection is usable inside. Raises what `describe` has words for."""
    max_bytes = declared.max_message_bytes
    async with AsyncExitStack() as stack:
        if declared.transport == "stdio":
            connection.process = await stack.enter_async_context(started(declared, max_bytes))
            transport: Any = over_stdio(connection.process, max_bytes, connection.end)
        else:
            connection.http = create_transport()
            http = await stack.enter_async_context(create_http_client(connection.http, declared.headers))
            transport = streamable_http_client(declared.settings.url, http_client=http, max_sse_event_size=max_bytes)
        info = types.Implementation(name="llmos", version=__version__)
        client = Client(transport, cache=None, client_info=info, message_handler=connection.on_message)
        connection._client = await stack.enter_async_context(client)
        yield


async def watch_tools(connection: Connection) -> None:
    """Newer servers tell of changes only where they are asked to; older ones do so by themselves."""
    client = connection._live()
    capabilities = client.server_capabilities.tools
    if client.session.discover_result is None or capabilities is None or not capabilities.list_changed:
        return
    try:
        async with listen(client.session, tools_list_changed=True) as events:
            async for _ in events:
                connection.changed.set()
    except Exception:  # A server that can't do it after all serves the tools that it has listed.
        return
