"""The OpenAPI document: Litestar's, with the parts made right that it can't know.

Schemas come from msgspec, which knows all the bounds of its structs; and each operation says which errors it may answer
with, whether it streams, and whether it asks for a key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.plugins import OpenAPIRenderPlugin

from llmos_server.api.bodies.body import WireBody
from llmos_server.api.files.uploading import ANCHOR, PURPOSES, SECONDS
from llmos_server.api.http.body_reader import UPLOADS
from llmos_server.api.http.event_stream import EVENT_STREAM
from llmos_server.api.http.families import ANTHROPIC, OLLAMA, Family, family_of
from llmos_server.api.ollama.ndjson import MEDIA_TYPE as LINES
from llmos_server.api.schemas.anthropic import AnthropicError, MessageEvent
from llmos_server.api.schemas.chat import ChatCompletionChunk
from llmos_server.api.schemas.common import ErrorResponse
from llmos_server.api.schemas.completions import Completion
from llmos_server.api.schemas.ollama import OllamaChatAnswer, OllamaError, OllamaGenerateAnswer
from llmos_server.api.schemas.ollama_models import OllamaProgress
from llmos_server.api.schemas.responses import ResponseEvent
from llmos_server.api.schemas.skills import SkillEvent

Document = dict[str, Any]

STREAMED: dict[str, type[Any]] = {
    "/v1/chat/completions": ChatCompletionChunk,
    "/v1/completions": Completion,
    "/v1/responses": ResponseEvent,
    "/v1/skills/{name}/run": SkillEvent,
    "/v1/messages": MessageEvent,
}
"""Path -> what the events of its stream hold."""
STREAMED_LINES: dict[str, type[Any]] = {
    "/api/chat": OllamaChatAnswer,
    "/api/generate": OllamaGenerateAnswer,
    "/api/pull": OllamaProgress,
}
"""The same of streams that are a JSON object a line."""
ERRORS: dict[Family, type[Any]] = {ANTHROPIC: AnthropicError, OLLAMA: OllamaError}
"""What errors look like, where it isn't OpenAI's."""

_REF = "#/components/schemas/{name}"
_STATE_KEY = "openapi_document"
_EVERYWHERE = {
    400: "The request can't be honoured; param names the field.",
    403: "Not for this web page (setting api.cors_origins), or not for this key.",
    404: "There is no such thing.",
    414: "The URL is too long.",
    421: "The server doesn't answer to this name (setting api.allowed_hosts).",
    431: "The headers are too large.",
    500: "Something went wrong in the server.",
}
_WITH_KEY = {401: "The key is missing, unknown or revoked.", 503: "The server can't answer now."}
_WITH_BODY = {
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is not declared as what it has to be: JSON, or a form with a file.",
    429: "Too many requests; Retry-After tells when to try again.",
    503: "The server or its engine can't answer now.",
}


def openapi_document(request: Request[Any, Any, Any]) -> bytes:
    """As JSON. Made at the first call, which takes a while."""
    state = request.app.state
    if _STATE_KEY not in state:
        raw = OpenAPIRenderPlugin.render_json(request, request.app.openapi_schema.to_schema())
        state[_STATE_KEY] = json.dumps(_complete(json.loads(raw), list(_handlers(request.app)))).encode()
    document: bytes = state[_STATE_KEY]
    return document


def _handlers(app: Any) -> Iterator[tuple[str, HTTPRouteHandler]]:
    """(path as in the document, handler) of everything that is in it."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if isinstance(handler, HTTPRouteHandler) and handler.resolve_include_in_schema():
                yield route.path_format, handler


def _complete(document: Document, handlers: list[tuple[str, HTTPRouteHandler]]) -> Document:
    types: set[type[Any]] = {ErrorResponse, *STREAMED.values(), *ERRORS.values()}
    for path, handler in handlers:
        types |= set(_structs_of(handler))
        for method in handler.http_methods:
            operation = document["paths"].get(path, {}).get(str(method).lower())
            if operation is not None:
                if path in UPLOADS and str(method) == "POST":
                    operation["requestBody"] = _form()
                _complete_operation(operation, path, is_public=bool(handler.opt.get("public")))
    components = document.setdefault("components", {})
    components["schemas"] = {**components.get("schemas", {}), **_schemas(types, _request_types(handlers))}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return document


def _structs_of(handler: HTTPRouteHandler) -> Iterator[type[Any]]:
    """Wire structs of the request and of the answers."""
    for spec in (handler.responses or {}).values():
        if isinstance(spec.data_container, type) and issubclass(spec.data_container, msgspec.Struct):
            yield spec.data_container
    if (dto := handler.resolve_data_dto()) is not None and issubclass(dto, WireBody):
        yield dto.model_type


def _request_types(handlers: list[tuple[str, HTTPRouteHandler]]) -> set[type[Any]]:
    dtos = [handler.resolve_data_dto() for _, handler in handlers]
    return {dto.model_type for dto in dtos if dto is not None and issubclass(dto, WireBody)}


def _schemas(types: set[type[Any]], requests: set[type[Any]]) -> Document:
    """Request structs forbid unknown fields, but those are dropped, and told, before: see WireBody."""
    _, of_requests = msgspec.json.schema_components(_sorted(requests), ref_template=_REF)
    _, schemas = msgspec.json.schema_components(_sorted(types), ref_template=_REF)
    for name in of_requests:
        schemas[name].pop("additionalProperties", None)
    return schemas


def _sorted(types: set[type[Any]]) -> list[type[Any]]:
    return sorted(types, key=lambda struct: struct.__name__)


def _complete_operation(operation: Document, path: str, *, is_public: bool) -> None:
    has_body = "requestBody" in operation
    errors = {**_EVERYWHERE, **({} if is_public else _WITH_KEY), **(_WITH_BODY if has_body else {})}
    responses = operation["responses"]
    for status, description in errors.items():
        error = _error(path, description)
        if responses.get(str(status), {}).get("content") != error["content"]:  # None, or Litestar's own error.
            responses[str(status)] = error
    operation["responses"] = dict(sorted(responses.items()))
    if path in STREAMED:
        responses["200"]["content"][EVENT_STREAM] = {"schema": _event(path)}
    if path in STREAMED_LINES:
        kinds = [{"$ref": _REF.format(name=kind.__name__)} for kind in (STREAMED_LINES[path], _error_type(path))]
        responses["200"]["content"][LINES] = {"schema": {"anyOf": kinds}}
    if not is_public:
        operation["security"] = [{"key": []}, {}]


def _form() -> Document:
    """A file with its fields; Litestar doesn't know of it, as the handler reads it while it comes."""
    names = {"purpose": {"type": "string", "enum": list(PURPOSES)}, ANCHOR: {"const": "created_at"}}
    properties = {"file": {"type": "string", "format": "binary"}, **names, SECONDS: {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["file", "purpose"]}
    return {"required": True, "content": {"multipart/form-data": {"schema": schema}}}


def _event(path: str) -> Document:
    """Of one event: its data is a chunk or an error as JSON, and at the end, of OpenAI's, the word [DONE]."""
    kinds = [{"$ref": _REF.format(name=kind.__name__)} for kind in (STREAMED[path], _error_type(path))]
    chunk = {"contentMediaType": "application/json", "contentSchema": {"anyOf": kinds}}
    data = {"type": "string", "anyOf": [chunk, {"const": "[DONE]"}]}
    return {"type": "object", "properties": {"data": data}, "required": ["data"]}


def _error_type(path: str) -> type[Any]:
    return ERRORS.get(family_of(path), ErrorResponse)


def _error(path: str, description: str) -> Document:
    """At the shutdown's end, what still runs is told so in OpenAI's form everywhere."""
    kinds: dict[type[Any], None] = dict.fromkeys((_error_type(path), ErrorResponse))
    refs = [{"$ref": _REF.format(name=kind.__name__)} for kind in kinds]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    return {"description": description, "content": {"application/json": {"schema": schema}}}
