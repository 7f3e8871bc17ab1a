"""One MCP server that models may use: its tools, and their calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmos_server.agents.mcp.declared import Declared
from llmos_server.agents.mcp.failures import McpFailed, ToolMissing
from llmos_server.agents.mcp.http import BoundedTransport
from llmos_server.agents.mcp.kept_connection import KeptConnection
from llmos_server.agents.mcp.results import to_output
from llmos_server.agents.tool import ServerTool, ToolOutput

MARGIN_SECONDS = 2.0
"""The caller's limit is behind this server's own, which knows more to say and counts."""
MAX_CALLS = 32
"""At a time; others wait for their turn."""
MAX_TIMEOUTS = 3
"""Calls in a row that take too long: then the server is taken for hung, and connected anew."""


@dataclass(slots=True)
class Counts:
    num_calls: int = 0
    num_errors: int = 0
    seconds: float = 0.0


class McpServer(KeptConnection):
    def __init__(self, declared: Declared, create_transport: Callable[[], BoundedTransport]) -> None:
        """create_transport: for a server that is reached by HTTP."""
        super().__init__(declared, create_transport)
        self.counts = Counts()
        self._places = asyncio.Semaphore(MAX_CALLS)
        self._num_timeouts = 0

    def tools(self) -> list[ServerTool]:
        """None while it isn't ready."""
        settings = self.declared.settings
        if self.state != "ready":
            return []
        return [
            ServerTool(
                name=offered.name,
                description=offered.description,
                parameters=offered.parameters,
                source=f"mcp {self.declared.name}",
                label=self.declared.name,
                own_name=offered.tool,
                timeout_seconds=settings.timeout_seconds + MARGIN_SECONDS,
                run=self._caller(offered.tool),
                needs_approval=offered.needs_approval,
            )
            for offered in self.listing.offered.values()
        ]

    async def call(self, tool: str, arguments: dict[str, Any]) -> ToolOutput:
        """Raises McpFailed that names the server."""
        name, seconds = self.declared.name, self.declared.settings.timeout_seconds
        started = time.perf_counter()
        self.counts.num_calls += 1
        is_error = True
        try:
            async with asyncio.timeout(seconds):
                output = await self._call(tool, arguments, seconds)
            is_error = output.is_error
            return output
        except TimeoutError:
            self._note_timeout()
            raise McpFailed(
                f"The tool {tool} of the MCP server {name} did not answer within {seconds:g} s "
                "(its setting timeout_seconds)."
            ) from None
        except McpFailed as error:
            text = self.declared.without_secrets(str(error))
            raise type(error)(f"The MCP server {name} {text}.") from None
        finally:
            self.counts.seconds += time.perf_counter() - started
            self.counts.num_errors += is_error

    async def _call(self, tool: str, arguments: dict[str, Any], seconds: float) -> ToolOutput:
        async with self._places:
            await self.wait_ready(seconds)
            offered = self.listing.offered.get(tool)
            if offered is None or self.connection is None:
                raise ToolMissing(f"has no tool {tool!r} any more")
            result = await self.connection.call(tool, arguments, seconds)
        self._num_timeouts = 0
        return await to_output(result, offered.output_schema, self.declared.settings.max_output_bytes)

    def _caller(self, tool: str) -> Callable[[dict[str, Any]], Any]:
        return lambda arguments: self.call(tool, arguments)

    def _note_timeout(self) -> None:
        self._num_timeouts += 1
        if self._num_timeouts >= MAX_TIMEOUTS and self.connection is not None:
            num, self._num_timeouts = self._num_timeouts, 0
            self.connection.end(f"took too long for {num} calls in a row")
