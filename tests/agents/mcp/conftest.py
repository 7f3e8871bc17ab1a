"""MCP servers as small programs, and what connects to them."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llmos_server.agents.mcp.declared import declare
from llmos_server.agents.mcp.server import McpServer
from llmos_server.agents.mcp.servers import create_server
from llmos_server.mcp_settings import McpServerSettings

HERE = Path(__file__).parent


async def until(is_true: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not is_true():
            await asyncio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Zombies are dead; whose they are is another's matter."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


class Started:
    def __init__(self, server: McpServer) -> None:
        self.server = server

    async def ready(self) -> McpServer:
        await self.server.wait_ready(30)
        return self.server

    async def down(self) -> McpServer:
        await until(lambda: self.server.state == "waiting")
        return self.server


@pytest.fixture
def mcp_helpers() -> SimpleNamespace:
    return SimpleNamespace(until=until, is_alive=is_alive, HERE=HERE)


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Started]]:
    """start("raw_server.py", "honest", **settings): a server that is starting; ended with the test."""
    servers: list[McpServer] = []

    def start(script: str, mode: str = "honest", **settings: Any) -> Started:
        fields = {"command": sys.executable, "args": (str(HERE / script), mode), **settings}
        env = {**os.environ, "SOME_KEY": "not for MCP servers", "TOKEN_OF_TEST": "s3cret-value"}
        server = create_server(declare("test", McpServerSettings(**fields), env))
        server.start()
        servers.append(server)
        return Started(server)

    yield start
    await asyncio.gather(*(server.stop() for server in servers))
