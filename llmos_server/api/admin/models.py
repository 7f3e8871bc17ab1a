"""/admin/v1/models: what is here and what is loaded; load, unload, pin, unpin, pull, remove."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, JSONBody
from litestar.types import ASGIApp

from llmos_server.api.admin.pull_stream import open_pull_stream
from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.errors import WireError
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.event_stream import DONE, frame
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.admin_models import (
    AdminModel,
    AdminModelList,
    ModelNameRequest,
    ModelRemoved,
    PullEvent,
)
from llmos_server.api.services import model_admin_of, services_of


class ModelNameBody(WireBody[ModelNameRequest]):
    table = fields.MODEL_NAME


@get(
    "/admin/v1/models",
    guards=[require_admin],
    tags=["Administration"],
    summary="All models: on disk and in memory",
    responses={200: ResponseSpec(AdminModelList, description="And the account of the memory budget.")},
)
async def admin_list_models(request: AnyRequest) -> ASGIApp:
    return json_response(request, model_admin_of(request).list())


@post(
    "/admin/v1/models/load",
    dto=ModelNameBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Load a model; answers when it is ready",
    responses={200: ResponseSpec(AdminModel, description="The model."), **ERRORS},
)
async def load_model(request: AnyRequest, data: JSONBody[ModelNameRequest]) -> ASGIApp:
    timeout = services_of(request).settings.load_timeout_seconds
    work = model_admin_of(request).load(data.model, timeout)
    return json_response(request, await run_until_disconnect(request.receive, work))


@post(
    "/admin/v1/models/unload",
    dto=ModelNameBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="End a model's worker as soon as nobody uses it; answers when it has ended",
    responses={200: ResponseSpec(AdminModel, description="The model."), **ERRORS},
)
async def unload_model(request: AnyRequest, data: JSONBody[ModelNameRequest]) -> ASGIApp:
    timeout = services_of(request).settings.load_timeout_seconds
    work = model_admin_of(request).unload(data.model, timeout)
    return json_response(request, await run_until_disconnect(request.receive, work))


@post(
    "/admin/v1/models/pin",
    dto=ModelNameBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Never evict a model once it is loaded, also after a restart",
    responses={200: ResponseSpec(AdminModel, description="The model."), **ERRORS},
)
async def pin_model(request: AnyRequest, data: JSONBody[ModelNameRequest]) -> ASGIApp:
    return json_response(request, await model_admin_of(request).pin(data.model))


@post(
    "/admin/v1/models/unpin",
    dto=ModelNameBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Let a model be evicted again; what the settings pin stays pinned",
    responses={200: ResponseSpec(AdminModel, description="The model."), **ERRORS},
)
async def unpin_model(request: AnyRequest, data: JSONBody[ModelNameRequest]) -> ASGIApp:
    return json_response(request, await model_admin_of(request).unpin(data.model))


@post(
    "/admin/v1/models/pull",
    dto=ModelNameBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Fetch a model; server-sent events tell how far it is",
    description="The last event holds the model, and [DONE] follows; or it holds an error. A client that leaves stops "
    "nothing.",
    responses={200: ResponseSpec(PullEvent, description="One event.", media_type="text/event-stream"), **ERRORS},
)
async def pull_model(request: AnyRequest, data: JSONBody[ModelNameRequest]) -> ASGIApp:
    return open_pull_stream(request, data.model, write_event)


def write_event(event: PullEvent | WireError) -> bytes:
    if isinstance(event, WireError):
        return frame(event.body())
    return frame(msgspec.json.encode(event)) + (DONE if event.model is not None else b"")


@delete(
    "/admin/v1/models/{model_id:path}",
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="Remove a model from the disk, by name or alias; what runs on it is finished",
    responses={200: ResponseSpec(ModelRemoved, description="It is gone."), 404: ERRORS[404]},
)
async def remove_model(request: AnyRequest, model_id: FromPath[str]) -> ASGIApp:
    name = await model_admin_of(request).remove(str(model_id).removeprefix("/"))
    return json_response(request, ModelRemoved(id=name))
