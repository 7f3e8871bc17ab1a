"""What is there: GET /api/tags, /api/ps and /api/version, POST /api/show, and the answer at / itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from litestar import MediaType, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp
from msgspec import UNSET

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import PUBLIC, may_use
from llmos_server.api.http.responses import json_response
from llmos_server.api.ollama import tables
from llmos_server.api.ollama.body import OllamaBody
from llmos_server.api.ollama.describe import capabilities, details, digest, facts, modified_at, to_model
from llmos_server.api.ollama.names import find, plain_name
from llmos_server.api.ollama.ndjson import timestamp
from llmos_server.api.ollama.skills import list_as_models, show_skill
from llmos_server.api.schemas.ollama_models import (
    OllamaLoaded,
    OllamaLoadedModel,
    OllamaNameRequest,
    OllamaShown,
    OllamaTags,
    OllamaVersion,
)
from llmos_server.api.served import ListedModel
from llmos_server.api.services import services_of
from llmos_server.api.skills.chat import is_skill
from llmos_server.chat.model_files import read_chat_template
from llmos_server.fleet_contracts import ModelStatus

VERSION = "0.14.0"
"""Of Ollama, whose API this is: the first with the Responses API (Codex asks for 0.13.4) and Anthropic's, which are
here, too. Clients ask for a least one, and know nothing of this server's own numbers."""

NEVER = datetime(2300, 1, 1, tzinfo=UTC).timestamp()
"""Within what any client's arithmetic can hold."""


class OllamaNameBody(OllamaBody[OllamaNameRequest]):
    table = tables.NAME


@get("/", opt=PUBLIC, media_type=MediaType.TEXT, tags=["Server"], summary="Does a server live here?")
async def running(request: AnyRequest) -> Response[str]:
    """Ollama's clients ask this before anything else, and some read the words. People in a browser read others."""
    if "text/html" in request.headers.get("accept", ""):
        text = "LLMOS is running. Its API is described at /docs."
    else:
        text = "Ollama is running"
    return Response(text, media_type=MediaType.TEXT, headers={"Vary": "Accept"})


@get(
    "/api/version",
    opt=PUBLIC,
    tags=["Ollama"],
    summary="The version of the API",
    responses={200: ResponseSpec(OllamaVersion, description="It.")},
)
async def ollama_version(request: AnyRequest) -> ASGIApp:
    return json_response(request, OllamaVersion(version=VERSION, llmos=services_of(request).version))


@get(
    "/api/tags",
    tags=["Ollama"],
    summary="List the models that this key may use",
    responses={200: ResponseSpec(OllamaTags, description="Chat models first, skills last.")},
)
async def ollama_tags(request: AnyRequest) -> ASGIApp:
    models = [to_model(model) for model in services_of(request).directory.list() if may_use(request, model)]
    return json_response(request, OllamaTags(models=[*models, *list_as_models(request)]))


@get(
    "/api/ps",
    tags=["Ollama"],
    summary="List the models that are loaded, of those that this key may use",
    responses={200: ResponseSpec(OllamaLoaded, description="All of them.")},
)
async def ollama_ps(request: AnyRequest) -> ASGIApp:
    services = services_of(request)
    fleet = services.model_admin.fleet_status() if services.model_admin is not None else None
    states = {status.name: status for status in fleet.models} if fleet is not None else {}
    idle_seconds = fleet.idle_seconds if fleet is not None else 0.0
    loaded = [m for m in services.directory.list() if m.engine.state == "ready" and may_use(request, m)]
    return json_response(request, OllamaLoaded(models=[_describe(m, states.get(m.id), idle_seconds) for m in loaded]))


@post(
    "/api/show",
    dto=OllamaNameBody,
    return_dto=None,
    status_code=200,
    tags=["Ollama"],
    summary="One model, by name or alias",
    responses={200: ResponseSpec(OllamaShown, description="The model.")},
)
async def ollama_show(request: AnyRequest, data: JSONBody[OllamaNameRequest]) -> ASGIApp:
    name = plain_name(data)
    if is_skill(name):
        return json_response(request, show_skill(request, name))
    served = await find(request, name)
    template = read_chat_template(Path(served.version.folder)) if served.version is not None else None
    shown = OllamaShown(
        modelfile=f"FROM {served.id}\n",
        parameters=f"num_ctx {served.max_model_len}" if served.max_model_len is not None else UNSET,
        template=template or "",
        details=details(served),
        model_info=facts(served),
        capabilities=capabilities(served),
        modified_at=modified_at(served),
    )
    return json_response(request, shown)


def _describe(model: ListedModel, status: ModelStatus | None, idle_seconds: float) -> OllamaLoadedModel:
    size = status.num_bytes if status is not None else 0
    is_kept = status is None or status.is_pinned or not idle_seconds
    expires = NEVER if is_kept or status is None or status.last_used is None else status.last_used + idle_seconds
    return OllamaLoadedModel(
        name=model.id,
        model=model.id,
        size=size,
        size_vram=size if getattr(model.engine.info, "device", "cpu") != "cpu" else 0,
        digest=digest(model),
        details=details(model),
        expires_at=timestamp(expires),
        context_length=model.max_model_len or 0,
    )
