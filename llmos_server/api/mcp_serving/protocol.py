"""The protocol, by the official SDK: skills are tools, and the list of models is a resource for administrators."""

from __future__ import annotations

import asyncio
from typing import Any

import mcp.types as types
import msgspec
from litestar.types import ASGIApp, Receive, ReceiveMessage, Scope, Send
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError

from llmos_server.api.endpoints.models import describe_models
from llmos_server.api.flights import flight_of
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.access import principal_of
from llmos_server.api.mcp_serving.farewell import WatchedSend, farewell
from llmos_server.api.mcp_serving.skill_tools import call_skill, describe_skill
from llmos_server.api.services import services_of
from llmos_server.api.skills.access import find_skill, list_skills
from llmos_server.errors import LLMOSError

MODELS = "llmos://models"
INSTRUCTIONS = "The tools are skills that this server runs on its own language models; each takes a while."
RESOURCE_NOT_FOUND = -32002

Context = ServerRequestContext[Any, Any]

_REQUEST = "llmos_mcp_request"


def answer(request: AnyRequest, body: bytes) -> ASGIApp:
    """body: what has been read of the request already. Everything that this starts ends with the answer."""
    manager = StreamableHTTPSessionManager(
        app=_create_server(services_of(request).version),
        stateless=True,
        max_request_body_size=services_of(request).settings.max_body_bytes,
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope = {**scope, _REQUEST: request}  # type: ignore[assignment]
        watched = WatchedSend(send)
        try:
            async with manager.run():
                await manager.handle_request(scope, _Replay(body, receive), watched)  # type: ignore[arg-type]
        except asyncio.CancelledError:  # Of what still runs after the grace time, or was ended by an administrator.
            if not watched.is_open:
                raise
            await watched.end(farewell(body, flight_of(request).told))

    return app


def _create_server(version: str) -> Server[Any]:
    return Server(
        "llmos",
        version=version,
        title="LLMOS",
        instructions=INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
        on_list_resources=_list_resources,
        on_read_resource=_read_resource,
    )


class _Replay:
    """An ASGI receive that gives the body once more, then what comes after it: the client's leaving."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> ReceiveMessage:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _request_of(context: Context) -> AnyRequest:
    assert context.request is not None
    request: AnyRequest = context.request.scope[_REQUEST]
    return request


async def _list_tools(context: Context, params: object) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[describe_skill(offer) for offer in list_skills(_request_of(context))])


async def _call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
    request = _request_of(context)
    try:
        offer = find_skill(request, params.name)
    except LLMOSError as error:
        raise MCPError(types.INVALID_PARAMS, str(error)) from None
    return await call_skill(request, offer, params.arguments or {}, context.session.report_progress)


async def _list_resources(context: Context, params: object) -> types.ListResourcesResult:
    if not principal_of(_request_of(context)).is_admin:
        return types.ListResourcesResult(resources=[])
    models = types.Resource(
        uri=MODELS, name="models", description="The models that this server has.", mime_type="application/json"
    )
    return types.ListResourcesResult(resources=[models])


async def _read_resource(context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    request = _request_of(context)
    if str(params.uri) != MODELS or not principal_of(request).is_admin:
        raise MCPError(RESOURCE_NOT_FOUND, f"There is no resource {str(params.uri)[:200]} for this key.")
    text = msgspec.json.encode(await describe_models(request)).decode()
    content = types.TextResourceContents(uri=MODELS, mime_type="application/json", text=text)
    return types.ReadResourceResult(contents=[content])
