"""GET /v1/llmos/tools: which tools of plugins there are, for requests that name one."""

from __future__ import annotations

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp

from llmos_server.api.agents.plugin_tools import HOOK
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import may_run_tool
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.plugins import PluginToolInfo, PluginToolList
from llmos_server.api.services import services_of
from llmos_server.plugins.loading import Offer
from llmos_server.plugins.offers import Tool, tool_schema


@get(
    "/v1/llmos/tools",
    tags=["Plugins"],
    summary="List the tools of plugins that a model may have called",
    responses={200: ResponseSpec(PluginToolList, description="Those that the key may have run.")},
)
async def list_tools(request: AnyRequest) -> ASGIApp:
    offers = [offer for offer in services_of(request).plugins.offers(HOOK) if may_run_tool(request, offer.name)]
    return json_response(request, PluginToolList(data=[_describe(offer) for offer in offers]))


def _describe(offer: Offer) -> PluginToolInfo:
    tool: Tool = offer.value
    return PluginToolInfo(
        name=tool.name,
        description=tool.description,
        plugin=offer.plugin,
        parameters=tool_schema(tool),
        timeout_seconds=tool.timeout_seconds,
        needs_approval=tool.needs_approval,
    )
