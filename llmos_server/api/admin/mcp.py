"""GET /admin/v1/mcp: the MCP servers whose tools this server uses."""

from __future__ import annotations

from collections.abc import Iterator

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp

from llmos_server.agents.mcp.server import McpServer
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.mcp import McpServerInfo, McpServerList, McpToolInfo
from llmos_server.api.services import services_of
from llmos_server.finding import Finding


@get(
    "/admin/v1/mcp",
    guards=[require_admin],
    tags=["Administration"],
    summary="The MCP servers that are declared, how they are, and what they offer",
    responses={200: ResponseSpec(McpServerList, description="In the order of the configuration.")},
)
async def list_mcp_servers(request: AnyRequest) -> ASGIApp:
    servers = services_of(request).mcp.by_name.values()
    return json_response(request, McpServerList(data=[_describe(server) for server in servers]))


def check_mcp_servers(servers: list[McpServer]) -> Iterator[Finding]:
    """For /admin/v1/doctor."""
    for server in servers:
        label = f"MCP server {server.declared.name} ({server.declared.place})"
        if server.state == "ready":
            num_refused = len(server.listing.refused)
            text = f"{label}: ready, {len(server.listing.offered)} tools"
            yield (
                Finding("warning", f"{text}, {num_refused} can't be offered", "GET /admin/v1/mcp tells why.")
                if num_refused
                else Finding("ok", text)
            )
        elif server.state == "off":
            yield Finding("ok", f"{label}: switched off")
        else:
            why = f": it {server.last_error}" if server.last_error else ""
            remedy = "It is tried again with growing pauses. Try its command or URL by hand." if why else ""
            yield Finding("warning", f"{label}: {server.state}{why}", remedy)


def _describe(server: McpServer) -> McpServerInfo:
    declared, listing, counts = server.declared, server.listing, server.counts
    return McpServerInfo(
        name=declared.name,
        transport=declared.transport,
        place=declared.place,
        state=server.state,
        tools=[
            McpToolInfo(name=tool.name, tool=tool.tool, needs_approval=tool.needs_approval)
            for tool in listing.offered.values()
        ],
        refused=listing.refused,
        num_hidden=listing.num_hidden,
        last_error=server.last_error,
        num_restarts=server.num_restarts,
        num_calls=counts.num_calls,
        num_errors=counts.num_errors,
        seconds=round(counts.seconds, 3),
    )
