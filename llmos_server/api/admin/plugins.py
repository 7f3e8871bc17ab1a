"""GET /admin/v1/plugins: what was found, what it offers, what it did wrong."""

from __future__ import annotations

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.plugins import PluginInfo, PluginList
from llmos_server.api.services import services_of
from llmos_server.plugins.host import Plugin, PluginHost


@get(
    "/admin/v1/plugins",
    guards=[require_admin],
    tags=["Administration"],
    summary="The plugins that were found, those that are refused and why, and what each of them offers",
    responses={200: ResponseSpec(PluginList, description="In the order of loading.")},
)
async def list_plugins(request: AnyRequest) -> ASGIApp:
    return json_response(request, describe_plugins(services_of(request).plugins))


def describe_plugins(host: PluginHost) -> PluginList:
    return PluginList(data=[_describe(host, plugin) for plugin in host.plugins.values()])


def _describe(host: PluginHost, plugin: Plugin) -> PluginInfo:
    offers: dict[str, list[str]] = {}
    for offer in plugin.offers:
        offers.setdefault(offer.hook, []).append(offer.name)
    return PluginInfo(
        name=plugin.name,
        source=plugin.source,
        version=plugin.version,
        hook_api=plugin.hook_api,
        state=plugin.state,
        reason=plugin.reason,
        offers=offers,
        switched_off=host.failures.switched_off(plugin.name),
        num_failures=sum(count for (name, _, _), count in host.failures.counts.items() if name == plugin.name),
    )
