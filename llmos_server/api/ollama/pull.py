"""POST /api/pull and DELETE /api/delete, for administrators."""

from __future__ import annotations

from litestar import MediaType, Response, delete, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp
from msgspec import UNSET

from llmos_server.api.admin.pull_stream import open_pull_stream
from llmos_server.api.errors import WireError
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import require_admin
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import json_bytes_response
from llmos_server.api.ollama import tables
from llmos_server.api.ollama.body import OllamaBody
from llmos_server.api.ollama.models import OllamaNameBody
from llmos_server.api.ollama.names import plain_name
from llmos_server.api.ollama.ndjson import FORM, error_body, line
from llmos_server.api.schemas.admin_models import PullEvent
from llmos_server.api.schemas.ollama_models import OllamaNameRequest, OllamaProgress, OllamaPullRequest
from llmos_server.api.services import model_admin_of


class OllamaPullBody(OllamaBody[OllamaPullRequest]):
    table = tables.PULL


@post(
    "/api/pull",
    dto=OllamaPullBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Ollama"],
    summary="Fetch a model; a JSON object a line tells how far it is",
    description="The last line says success, or holds an error. A client that leaves stops nothing.",
    responses={200: ResponseSpec(OllamaProgress, description="A line, or with stream: false the last one.")},
)
async def ollama_pull(request: AnyRequest, data: JSONBody[OllamaPullRequest]) -> ASGIApp:
    name = plain_name(data)
    if data.stream is not False:
        return open_pull_stream(request, name, write_event, FORM)
    return await run_until_disconnect(request.receive, _wait(request, name))


async def _wait(request: AnyRequest, name: str) -> ASGIApp:
    events = model_admin_of(request).pulls.listen(name)
    while (event := await events.get()) is not None:
        last = event
    if isinstance(last, WireError):
        response = Response(error_body(last), status_code=last.status, headers=last.headers, media_type=MediaType.JSON)
        return response.to_asgi_response(app=None, request=request)
    return json_bytes_response(request, write_event(last))


def write_event(event: PullEvent | WireError) -> bytes:
    if isinstance(event, WireError):
        return FORM.error(event)
    if event.model is not None:
        return line(OllamaProgress(status="success"))
    if event.label is None:
        return line(OllamaProgress(status=event.text or ""))
    return line(
        OllamaProgress(
            status=f"pulling {event.label}",
            digest=event.label,
            total=UNSET if event.total is None else event.total,
            completed=event.done or 0,
        )
    )


@delete(
    "/api/delete",
    dto=OllamaNameBody,
    return_dto=None,
    status_code=200,
    guards=[require_admin],
    tags=["Ollama"],
    summary="Remove a model from the disk, by name or alias; what runs on it is finished",
    responses={200: ResponseSpec(None, description="It is gone; there is no body.")},
)
async def ollama_delete(request: AnyRequest, data: JSONBody[OllamaNameRequest]) -> ASGIApp:
    await model_admin_of(request).remove(plain_name(data))
    response = Response(b"", status_code=200, media_type=MediaType.TEXT)
    return response.to_asgi_response(app=None, request=request)
