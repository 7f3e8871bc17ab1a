"""The OpenAPI document, and a page that shows it: plain HTML, no script, nothing from another server."""

from __future__ import annotations

from html import escape
from typing import Any

from litestar import MediaType, Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import Tag
from litestar.types import ASGIApp

from llmos_server.api.anthropic import fields as anthropic_fields
from llmos_server.api.bodies import decision_fields, fields
from llmos_server.api.bodies.field_rules import Status, Table
from llmos_server.api.evals.fields import TABLES as EVAL_TABLES
from llmos_server.api.http.access import PUBLIC
from llmos_server.api.ollama import tables as ollama
from llmos_server.api.openapi import openapi_document
from llmos_server.api.responding.fields import INPUT_TOKENS
from llmos_server.api.responding.fields import TABLES as RESPONSE_TABLES
from llmos_server.api.stored import fields as stored

FIELD_TABLES: dict[str, Table] = {
    "/v1/chat/completions": fields.CHAT,
    "/v1/chat/completions: a message": fields.MESSAGE,
    "/v1/chat/completions: a content part": fields.PART,
    "/v1/completions": fields.COMPLETION,
    **{f"/v1/responses{title}": table for title, table in RESPONSE_TABLES.items()},
    "/v1/embeddings": fields.EMBEDDING,
    "/v1/systemone": decision_fields.SYSTEMONE,
    "/v1/systemone: a question": decision_fields.QUESTION,
    "tools": fields.TOOL,
    "function": fields.FUNCTION,
    "/v1/rerank": decision_fields.RERANK,
    "/v1/score": decision_fields.SCORE,
    "/v1/classify": decision_fields.CLASSIFY,
    "stream_options": fields.STREAM_OPTIONS,
    "response_format": fields.RESPONSE_FORMAT,
    "json_schema": fields.JSON_SCHEMA,
    "structured_outputs": fields.STRUCTURED_OUTPUTS,
    **{f"/v1/evals{title}": table for title, table in EVAL_TABLES.items()},
    "/tokenize": fields.TOKENIZE,
    "/detokenize": fields.DETOKENIZE,
    "/admin/v1/models/attention": fields.ATTENTION,
    "/v1/messages": anthropic_fields.MESSAGES,
    "/v1/messages: a block": anthropic_fields.BLOCK,
    "/v1/messages: a tool": anthropic_fields.TOOL,
    "/v1/messages: tool_choice": anthropic_fields.TOOL_CHOICE,
    "/v1/messages: thinking": anthropic_fields.THINKING,
    "/v1/messages: output_config": anthropic_fields.OUTPUT_CONFIG,
    "/admin/v1/keys": fields.CREATE_KEY,
    "/admin/v1/keys/{key}": fields.CHANGE_KEY,
    "/admin/v1/promotions": fields.PROMOTE,
    "/admin/v1/promotions/rollback": fields.ALIAS,
    **{f"/admin/v1/adapters/{verb}": fields.ADAPTER_NAME for verb in ("share", "unshare", "load", "unload")},
    "/admin/v1/skills/{name}/scores": fields.STORE_SCORE,
    "/api/chat": ollama.CHAT,
    "/api/chat: a message": ollama.MESSAGE,
    "/api/generate": ollama.GENERATE,
    "/api/chat and /api/generate: options": ollama.OPTIONS,
    "/api/embed": ollama.EMBED,
    "/api/embeddings": ollama.EMBEDDINGS,
    "/api/pull": ollama.PULL,
    "/admin/v1/prune": fields.PRUNE,
    "/v1/responses/input_tokens": INPUT_TOKENS,
    "/v1/conversations": stored.CREATE_CONVERSATION,
    "/v1/conversations/{conversation_id}": stored.UPDATE_CONVERSATION,
    "/v1/conversations/{conversation_id}/items": stored.CREATE_ITEMS,
    "/v1/llmos/feedback": stored.CREATE_FEEDBACK,
}
TAGS = (
    "Generation",
    "Responses",
    "Anthropic",
    "Conversations",
    "Feedback",
    "Embeddings",
    "Decisions",
    "Skills",
    "Plugins",
    "Tokens",
    "Models",
    "Usage",
    "Ollama",
    "Administration",
    "Server",
)

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0;"
    "border-bottom:1px solid #8884}code{font-family:ui-monospace,monospace}:root{color-scheme:light dark}"
)
_HEAD = (
    f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>LLMOS</title><style>{_STYLE}</style>"
)


def field_rows(table: Table) -> list[tuple[str, str, str]]:
    """(field, status, note), honoured ones first."""
    order = list(Status)
    rows = sorted(table.items(), key=lambda item: order.index(item[1].status))
    return [(name, rule.status.value, rule.note) for name, rule in rows]


def markdown_table(table: Table) -> str:
    """As it is in docs/api.md."""
    lines = ["| Field | Status | Note |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {status} | {note} |" for name, status, note in field_rows(table))])


class DocsPage(OpenAPIRenderPlugin):
    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        info = openapi_schema["info"]
        parts = [f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"]
        parts.append('<p>The OpenAPI document: <a href="/openapi.json">/openapi.json</a></p><h2>Endpoints</h2>')
        parts.append(
            _html_table([(call, text) for call, text in _operations(openapi_schema)], ("Call", "What it does"))
        )
        for title, table in FIELD_TABLES.items():
            parts.append(f"<h2>Fields of {escape(title)}</h2>")
            parts.append(_html_table(field_rows(table), ("Field", "Status", "Note")))
        return f"<!doctype html><html lang=en><head>{_HEAD}</head><body>{''.join(parts)}</body></html>".encode()


class JsonDocument(OpenAPIRenderPlugin):
    """The same document below /docs."""

    def __init__(self) -> None:
        super().__init__(path="/openapi.json", media_type=MediaType.JSON)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return openapi_document(request)


def _operations(schema: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (f"{method.upper()} {path}", operation.get("summary", ""))
        for path, item in schema["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict)
    ]


def _html_table(rows: list[Any], heads: tuple[str, ...]) -> str:
    header = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join(
        f"<tr><td><code>{escape(row[0])}</code></td>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{header}</tr>{body}</table>"


async def _refuse_unknown_pages(response: Response[Any]) -> Response[Any]:
    """Litestar's own page for unknown paths below /docs would be HTML; errors are JSON everywhere."""
    if response.status_code == 404:
        raise NotFoundException
    return response


def create_openapi_config(version: str) -> OpenAPIConfig:
    router = Router(
        "/docs",
        route_handlers=[],
        include_in_schema=False,
        opt=PUBLIC,
        dto=None,
        return_dto=None,
        after_request=_refuse_unknown_pages,
    )
    return OpenAPIConfig(
        title="LLMOS",
        version=version,
        description="OpenAI's API over your own models. Base URL for SDKs: /v1.",
        openapi_router=router,
        render_plugins=[DocsPage(), JsonDocument()],
        tags=[Tag(name=name) for name in TAGS],
        use_handler_docstrings=False,
    )


@get("/openapi.json", opt=PUBLIC, include_in_schema=False)
async def openapi_json(request: Request[Any, Any, Any]) -> ASGIApp:
    return Response(openapi_document(request), media_type="application/json").to_asgi_response(
        app=None, request=request
    )
