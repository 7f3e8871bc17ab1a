"""POST /v1/chat/completions, and what it would be generated from: /v1/chat/completions/render."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.accounting.visits import take_place
from llmos_server.api.agents.chat_agent import AgentChatRequest, answer_by_loop
from llmos_server.api.bodies import fields
from llmos_server.api.bodies.body import WireBody, convert
from llmos_server.api.bodies.unknown_fields import tell_unread_variables
from llmos_server.api.chats.frames import ChatFrames, to_completion
from llmos_server.api.chats.plan import plan_chat
from llmos_server.api.chats.start import start_chat
from llmos_server.api.chats.tools import require_function
from llmos_server.api.filters.filtered_chats import filter_request
from llmos_server.api.generation.plans import wait_ready
from llmos_server.api.generation.sampling import check_stream_options
from llmos_server.api.generation.starting import AnyRequest, collect, open_stream
from llmos_server.api.http.access import find_model
from llmos_server.api.http.context import DROPPED, response_headers
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import ERRORS, json_response
from llmos_server.api.schemas.chat import ChatCompletion, ChatCompletionRequest
from llmos_server.api.schemas.tokenize import RenderResponse
from llmos_server.api.services import services_of
from llmos_server.api.skills.chat import answer_by_skill, is_skill
from llmos_server.errors import InvalidRequest


class ChatBody(WireBody[ChatCompletionRequest]):
    table = fields.CHAT

    def to_struct(self, fields: dict[str, Any]) -> ChatCompletionRequest:
        """Tools that the server runs are read by their providers."""
        known = services_of(self.asgi_connection).tool_providers
        own: list[tuple[str, Any]] = []
        rest: list[tuple[str, Any]] = []
        for place, tool in enumerate(fields.get("tools") or []):
            is_own = isinstance(tool, dict) and isinstance(tool.get("type"), str) and tool["type"] in known
            (own if is_own else rest).append((f"tools[{place}]", tool))
            if not is_own and isinstance(tool, dict):
                require_function(tool.get("type"), f"tools[{place}]")
        if not own:
            return super().to_struct(fields)
        data = convert({**fields, "tools": [tool for _, tool in rest]}, AgentChatRequest)
        data.server_tools, data.tool_places = own, [where for where, _ in rest]
        return data


@post(
    "/v1/chat/completions",
    dto=ChatBody,
    return_dto=None,
    status_code=200,
    tags=["Generation"],
    summary="Answer a chat",
    description="With stream: true, server-sent events: ChatCompletionChunk objects, then [DONE].",
    responses={200: ResponseSpec(ChatCompletion, description="The whole answer."), **ERRORS},
)
async def create_chat_completion(request: AnyRequest, data: JSONBody[ChatCompletionRequest]) -> ASGIApp:
    check_stream_options(data)
    if isinstance(data, AgentChatRequest):
        return await answer_by_loop(request, data)
    if is_skill(data.model):
        return await answer_by_skill(request, data)
    start = await start_chat(request, data)
    if data.stream:
        return await open_stream(request, start, functools.partial(ChatFrames, options=data.stream_options))
    answer, texts = await collect(request, start)
    return json_response(request, to_completion(answer, texts))


@post(
    "/v1/chat/completions/render",
    dto=ChatBody,
    return_dto=None,
    status_code=200,
    tags=["Tokens"],
    summary="Render a chat without running it",
    responses={200: ResponseSpec(RenderResponse, description="The prompt, as text and token ids."), **ERRORS},
)
async def render_chat_completion(request: AnyRequest, data: JSONBody[ChatCompletionRequest]) -> ASGIApp:
    services = services_of(request)
    check_stream_options(data)
    if isinstance(data, AgentChatRequest):
        raise InvalidRequest(
            "tools: what the server runs is known when it runs; describe it as a function to see how it is rendered.",
            param=data.server_tools[0][0],
            code="unsupported_value",
        )
    data, _ = await filter_request(request, data, "chat.completions")
    served = await find_model(request, data.model, data.adapter)
    tell_unread_variables(request, served, data.chat_template_kwargs)

    async def render() -> RenderResponse:
        with take_place(request):
            with served.engine.hold():
                info = await wait_ready(served, services.settings.load_timeout_seconds)
            plan = await plan_chat(services, served, data, info)
        if plan.num_dropped_messages:
            response_headers(request)[DROPPED] = str(plan.num_dropped_messages)
        [prompt] = plan.prompts
        return RenderResponse(
            request_id=plan.id,
            token_ids=prompt,
            sampling_params=msgspec.to_builtins(
                {**msgspec.structs.asdict(plan.sampling), "n": plan.n, "stop": plan.stop}
            ),
            model=served.id,
            stream=bool(data.stream),
            cache_salt=data.cache_salt,
            priority=plan.priority,
            prompt=served.renderer.decode(prompt, skip_special_tokens=False),
            count=len(prompt),
            max_model_len=info.max_model_len,
            dropped_messages=plan.num_dropped_messages,
        )

    return json_response(request, await run_until_disconnect(request.receive, render()))
