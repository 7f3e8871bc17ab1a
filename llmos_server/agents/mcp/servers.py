"""All MCP servers that the operator has declared."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from llmos_server.agents.mcp.declared import Declared
from llmos_server.agents.mcp.http import BoundedTransport, create_inner
from llmos_server.agents.mcp.server import McpServer


class McpServers:
    def __init__(self, declared: Iterable[Declared] = ()) -> None:
        self.by_name = {one.name: create_server(one) for one in declared}

    async def start(self) -> None:
        """Returns at once: none of them keeps the API from being ready."""
        for server in self.by_name.values():
            server.start()

    async def stop(self) -> None:
        await asyncio.gather(*(server.stop() for server in self.by_name.values()))


def create_server(declared: Declared) -> McpServer:
    return McpServer(declared, lambda: BoundedTransport(create_inner(), declared.max_message_bytes))
