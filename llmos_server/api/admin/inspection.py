"""What is inside a model: GET /admin/v1/models/structure and /template, POST /preview and /attention."""

from __future__ import annotations

import asyncio
from pathlib import Path

from litestar import get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, JSONBody
from litestar.types import ASGIApp

from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.bodies.unknown_fields import tell_unread_variables
from llmos_server.api.chats.prompt import encode_prompt
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import find_model, require_admin
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.admin_inspection import Preview, PreviewRequest, PreviewToken, TemplateAnswer
from llmos_server.api.services import model_admin_of, services_of
from llmos_server.chat.model_files import find_chat_template
from llmos_server.registry.structure import Structure, read_structure

_NOT_FOUND = {404: ERRORS[404]}


class PreviewBody(WireBody[PreviewRequest]):
    table = fields.PROMPT


@get(
    "/admin/v1/models/structure",
    guards=[require_admin],
    tags=["Administration"],
    summary="A model's modules and tensors as a tree",
    description="From the heads of its weight files: nothing is loaded.",
    responses={200: ResponseSpec(Structure, description="The tree, with sums at every module."), **_NOT_FOUND},
)
async def model_structure(request: AnyRequest, model: FromQuery[str | None] = None) -> ASGIApp:
    version = model_admin_of(request).version(model)
    return json_response(request, await asyncio.to_thread(read_structure, version))


@get(
    "/admin/v1/models/template",
    guards=[require_admin],
    tags=["Administration"],
    summary="A model's chat template",
    responses={200: ResponseSpec(TemplateAnswer, description="Its source."), **_NOT_FOUND},
)
async def model_template(request: AnyRequest, model: FromQuery[str | None] = None) -> ASGIApp:
    version = model_admin_of(request).version(model)
    source, template = find_chat_template(Path(version.folder)) or (None, None)
    return json_response(request, TemplateAnswer(model=version.name, template=template, source=source))


@post(
    "/admin/v1/models/preview",
    dto=PreviewBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Administration"],
    summary="A prompt as the model gets it, token by token",
    responses={200: ResponseSpec(Preview, description="Its text and its tokens."), **ERRORS},
)
async def preview_prompt(request: AnyRequest, data: JSONBody[PreviewRequest]) -> ASGIApp:
    services = services_of(request)
    served = await find_model(request, data.model)
    tell_unread_variables(request, served, data.chat_template_kwargs)
    renderer = served.renderer

    async def work() -> Preview:
        ids = await encode_prompt(services, served, data)

        def describe() -> Preview:
            special = renderer.special_ids
            tokens = [PreviewToken(id=i, text=renderer.token_text(i), is_special=i in special) for i in ids]
            return Preview(model=served.id, text=renderer.decode(ids, skip_special_tokens=False), tokens=tokens)

        return await services.pool.run(len(ids), describe)

    return json_response(request, await run_until_disconnect(request.receive, work()))
