"""MCP servers as sources of tools for one request: the operator's, by their names, and those that a request names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from llmos_server.agents.mcp.declared import Declared
from llmos_server.agents.mcp.entry import McpEntry, headers_of, read_entry, refusal
from llmos_server.agents.mcp.failures import McpFailed
from llmos_server.agents.mcp.http import BoundedTransport, create_inner
from llmos_server.agents.mcp.pinning import PinnedTransport, Resolve, check_client_url, public_addresses, resolve_host
from llmos_server.agents.mcp.server import McpServer
from llmos_server.agents.mcp.servers import McpServers
from llmos_server.agents.tool import ServerTool
from llmos_server.agents.tool_source import SourceFailed, ToolSource
from llmos_server.errors import InvalidRequest
from llmos_server.key_contracts import Principal
from llmos_server.mcp_settings import McpServerSettings

WAIT_SECONDS = 10.0
"""For a server that is still starting."""


class McpProvider:
    """ToolProvider of the entries {"type": "mcp"}."""

    def __init__(self, servers: McpServers, client_hosts: Sequence[str] = (), resolve: Resolve = resolve_host) -> None:
        """client_hosts: where MCP servers may be that requests name by a URL."""
        self._servers = servers
        self._client_hosts = client_hosts
        self._resolve = resolve

    def open(self, entry: dict[str, Any], *, where: str, principal: Principal, request: Any) -> ToolSource:
        made = read_entry(entry, where)
        if made.server_url is None:
            return _Declared(self._find(made.server_label, where), made, principal)
        host = check_client_url(made.server_url, self._client_hosts, f"{where}.server_url")
        return _Named(made, host, principal, self._resolve)

    def _find(self, label: str, where: str) -> McpServer:
        server = self._servers.by_name.get(label)
        if server is None or server.state == "off":
            known = [name for name, found in self._servers.by_name.items() if found.state != "off"]
            raise refusal(
                f"{where}.server_label",
                f"no MCP server {label!r} is declared here (there is: {', '.join(known) or 'none'}); name one of them, "
                "or send its server_url",
                "mcp_server_not_found",
            )
        return server


class _Source:
    is_listed = True

    def __init__(self, entry: McpEntry, principal: Principal) -> None:
        self.label = entry.server_label
        self._entry = entry
        self._principal = principal

    def _choose(self, server: McpServer) -> list[ServerTool]:
        entry, names = self._entry, self._principal.tools
        note = f"\n(Of {self.label}: {entry.server_description})" if entry.server_description else ""
        chosen = []
        for tool in server.tools():
            own = tool.shown_name
            is_read_only = server.listing.offered[own].is_read_only
            if entry.allows(own, is_read_only) and (names is None or tool.name in names):
                needs_approval = tool.needs_approval or entry.needs_approval(own, is_read_only)
                chosen.append(
                    dataclasses.replace(tool, needs_approval=needs_approval, description=tool.description + note)
                )
        return chosen


class _Declared(_Source):
    def __init__(self, server: McpServer, entry: McpEntry, principal: Principal) -> None:
        super().__init__(entry, principal)
        self._server = server

    async def list_tools(self) -> Sequence[ServerTool]:
        await _wait(self._server, self.label, WAIT_SECONDS)
        return self._choose(self._server)

    async def close(self) -> None:
        """It goes on for others."""


class _Named(_Source):
    """Connected when its tools are asked for, until it is closed."""

    def __init__(self, entry: McpEntry, host: str, principal: Principal, resolve: Resolve) -> None:
        super().__init__(entry, principal)
        self._host = host
        self._resolve = resolve
        self._server: McpServer | None = None
        self._is_closed = False

    async def list_tools(self) -> Sequence[ServerTool]:
        if self._server is None:
            transport = await self._pinned()
            self._server = McpServer(self._declared, transport)
            if not self._is_closed:
                self._server.start()
        await _wait(self._server, self.label, self._declared.settings.start_seconds)
        return self._choose(self._server)

    async def close(self) -> None:
        self._is_closed = True
        if self._server is not None:
            await self._server.stop()

    @property
    def _declared(self) -> Declared:
        headers = headers_of(self._entry)
        return Declared(
            name=self.label,
            settings=McpServerSettings(url=self._entry.server_url or ""),
            headers=headers,
            hidden=tuple(value for value in (*headers.values(), self._entry.authorization or "") if len(value) >= 4),
        )

    async def _pinned(self) -> Callable[[], BoundedTransport]:
        port = urlsplit(self._entry.server_url or "").port or 443
        try:
            addresses = await public_addresses(self._host, port, "server_url", self._resolve)
        except InvalidRequest as error:
            raise SourceFailed(str(error)) from None
        limit = self._declared.max_message_bytes
        return lambda: BoundedTransport(PinnedTransport(create_inner(), self._host, addresses), limit)


async def _wait(server: McpServer, label: str, seconds: float) -> None:
    try:
        await server.wait_ready(seconds)
    except McpFailed as error:
        raise SourceFailed(f"The MCP server {label} {server.declared.without_secrets(str(error))}.") from None
