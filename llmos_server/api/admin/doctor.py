"""GET /admin/v1/doctor: what the server finds about its machine and its engines."""

from __future__ import annotations

from collections.abc import Iterator

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp

from llmos_server.api.admin.mcp import check_mcp_servers
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.admin import Findings
from llmos_server.api.served import ListedModel
from llmos_server.api.services import services_of
from llmos_server.finding import Finding

HEALTHY = ("ready", "loading", "unloaded")


@get(
    "/admin/v1/doctor",
    guards=[require_admin],
    tags=["Administration"],
    summary="What keeps this server from serving, and what to do about it",
    responses={200: ResponseSpec(Findings, description="A finding a line.")},
)
async def doctor(request: AnyRequest) -> ASGIApp:
    services = services_of(request)
    machine = await services.examine()
    engines = [finding for served in services.directory.list() for finding in _check_engine(served)]
    mcp = check_mcp_servers(list(services.mcp.by_name.values()))
    return json_response(request, Findings(data=[*machine, *engines, *mcp]))


def _check_engine(served: ListedModel) -> Iterator[Finding]:
    state = served.engine.state
    if state in HEALTHY:
        yield Finding("ok", f"engine of {served.id}: {state}")
    elif state == "failed":
        yield Finding("failure", f"engine of {served.id}: failed", "The server's log tells why.")
    else:
        yield Finding("warning", f"engine of {served.id}: {state}", "The server's log tells why its worker ended.")
