"""GET /admin/v1/models/pages: the pages of a model's KV cache, as a map."""

from __future__ import annotations

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery
from litestar.types import ASGIApp

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model, require_admin
from llmos_server.api.http.following import open_live, read_interval
from llmos_server.api.http.responses import ERRORS, json_bytes_response
from llmos_server.api.schemas.admin_live import PageMap
from llmos_server.api.services import services_of
from llmos_server.api.stored.query import check_names, read_bool


@get(
    "/admin/v1/models/pages",
    guards=[require_admin],
    tags=["Administration"],
    summary="The pages of a decoder's KV cache, a letter each",
    description="model: the default when absent. follow=true: server-sent events `pages`, one each `interval` seconds.",
    responses={200: ResponseSpec(PageMap, description="Between two steps."), 404: ERRORS[404]},
)
async def get_pages(
    request: AnyRequest,
    model: FromQuery[str | None] = None,
    follow: FromQuery[str | None] = None,
    interval: FromQuery[str | None] = None,
) -> ASGIApp:
    """A model that is known, and has no pages now, has an empty map."""
    services = services_of(request)
    check_names(request, ("model", "follow", "interval"))
    served = await find_model(request, model)
    _ = served.generator
    sampler = services.live.pages(served.id)
    if read_bool(request, "follow"):
        return open_live(request, "pages", sampler.sample, read_interval(interval))
    return json_bytes_response(request, await sampler.fresh())
