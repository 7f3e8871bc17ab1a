"""POST /v1/chat/completions, and what it would be generated from: /v1/chat/completions/render."""

from __future__ import annotations

import functools
from typing import Any

import msgspec
from litestar import MediaType, Response, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp

from llmos_server.api import fields
from llmos_server.api.body import WireBody
from llmos_server.api.chat_frames import ChatFrames, to_completion
from llmos_server.api.chat_plan import plan_chat
from llmos_server.api.context import DROPPED, response_headers
from llmos_server.api.plans import Plan, wait_ready
from llmos_server.api.disconnect import run_until_disconnect
from llmos_server.api.sampling import check_stream_options
from llmos_server.api.schemas.chat import ChatCompletion, ChatCompletionRequest
from llmos_server.api.schemas.common import ErrorResponse
from llmos_server.api.schemas.tokenize import RenderResponse
from llmos_server.api.services import services_of
from llmos_server.api.starting import AnyRequest, collect, create_start, open_stream
from llmos_server.contracts import EngineInfo


class ChatBody(WireBody[ChatCompletionRequest]):
    table = fields.CHAT


ERRORS: dict[int, ResponseSpec] = {
    400: ResponseSpec(ErrorResponse, description="The request can't be honoured; param names the field."),
    404: ResponseSpec(ErrorResponse, description="No such model."),
    429: ResponseSpec(ErrorResponse, description="The queue is full; Retry-After tells when to try again."),
    503: ResponseSpec(ErrorResponse, description="The engine can't answer now."),
}


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
async def create_chat_completion(request: AnyRequest, data: ChatCompletionRequest) -> ASGIApp:
    services = services_of(request)
    served = services.directory.get(data.model)
    check_stream_options(data)

    async def make_plan(info: EngineInfo) -> Plan:
        plan = await plan_chat(services, served, data, info)
        if plan.num_dropped_messages:
            response_headers(request)[DROPPED] = str(plan.num_dropped_messages)
        return plan

    start = create_start(services, served, make_plan)
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
async def render_chat_completion(request: AnyRequest, data: ChatCompletionRequest) -> ASGIApp:
    services = services_of(request)
    served = services.directory.get(data.model)

    async def render() -> RenderResponse:
        info = await wait_ready(served, services.settings.load_timeout_seconds)
        plan = await plan_chat(services, served, data, info)
        if plan.num_dropped_messages:
            response_headers(request)[DROPPED] = str(plan.num_dropped_messages)
        [prompt] = plan.prompts
        return RenderResponse(
            request_id=plan.id,
            token_ids=prompt,
            sampling_params=msgspec.to_builtins({**msgspec.structs.asdict(plan.sampling), "n": plan.n, "stop": plan.stop}),
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


def json_response(request: AnyRequest, content: msgspec.Struct) -> ASGIApp:
    """Encoded by msgspec as it is: no field of a wire struct needs Litestar's own encoders."""
    response: Response[Any] = Response(msgspec.json.encode(content), media_type=MediaType.JSON, status_code=200)
    return response.to_asgi_response(app=None, request=request)
