"""GET /admin/v1/settings: the settings that hold, and where each comes from."""

from __future__ import annotations

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.admin_settings import SettingList
from llmos_server.api.services import services_of


@get(
    "/admin/v1/settings",
    guards=[require_admin],
    tags=["Administration"],
    summary="The settings that this server was started with, and where each comes from; never its secrets",
    responses={200: ResponseSpec(SettingList, description="Section by section, as docs/configuration.md.")},
)
async def list_settings(request: AnyRequest) -> ASGIApp:
    return json_response(request, SettingList(data=list(services_of(request).configuration)))
