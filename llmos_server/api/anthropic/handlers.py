"""POST /v1/messages and /v1/messages/count_tokens, as Anthropic's clients send them."""

from __future__ import annotations

import functools

from litestar import post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from litestar.types import ASGIApp

from llmos_server.api.anthropic import fields
from llmos_server.api.anthropic.answer import to_message
from llmos_server.api.anthropic.conversation import refusal
from llmos_server.api.anthropic.errors import error_event
from llmos_server.api.anthropic.frames import PING, MessageFrames
from llmos_server.api.anthropic.renaming import renamed
from llmos_server.api.anthropic.request import Translated, to_chat
from llmos_server.api.anthropic.skills import answer_by_skill
from llmos_server.api.anthropic.thinking import plan_thinking
from llmos_server.api.bodies.body import WireBody
from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.chats.prompt_size import count_prompt
from llmos_server.api.chats.start import start_chat
from llmos_server.api.generation.plans import Plan
from llmos_server.api.generation.starting import AnyRequest, Start, StreamForm, collect, open_stream
from llmos_server.api.http.access import find_model
from llmos_server.api.http.context import request_id_of
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.anthropic import (
    AnthropicMessage,
    CountTokensRequest,
    MessagesRequest,
    PromptFields,
    TokenCount,
)
from llmos_server.api.services import services_of
from llmos_server.api.skills.chat import is_skill
from llmos_server.contracts import EngineInfo


class MessagesBody(WireBody[MessagesRequest]):
    table = fields.MESSAGES


class CountTokensBody(WireBody[CountTokensRequest]):
    table = fields.COUNT_TOKENS


@post(
    "/v1/messages",
    dto=MessagesBody,
    return_dto=None,
    status_code=200,
    tags=["Anthropic"],
    summary="Answer a conversation in Anthropic's form",
    description="With stream: true, server-sent events: MessageEvent objects.",
    responses={200: ResponseSpec(AnthropicMessage, description="The whole answer.")},
)
async def create_message(request: AnyRequest, data: JSONBody[MessagesRequest]) -> ASGIApp:
    if is_skill(data.model):
        return await answer_by_skill(request, data)
    translated = await _translate(request, data)
    start = await _start(request, data, translated)
    shows_thinking = data.thinking is None or data.thinking.display != "omitted"
    if data.stream:
        error = functools.partial(error_event, request_id=request_id_of(request))
        make_frames = functools.partial(MessageFrames, shows_thinking=shows_thinking)
        return await open_stream(request, start, make_frames, StreamForm(done=b"", error=error, ping=PING))
    answer, texts = await collect(request, start)
    return json_response(request, to_message(answer, texts, shows_thinking=shows_thinking))


async def _translate(request: AnyRequest, data: PromptFields) -> Translated:
    """The model says what a request means; filters may name another one later, which then has to make do with it."""
    served = await find_model(request, data.model)
    translated = to_chat(data, plan_thinking(data, served), services_of(request).settings.max_tool_output)
    if translated.ignored:
        tell_unknown(request, translated.ignored)
    return translated


async def _start(request: AnyRequest, data: MessagesRequest, translated: Translated) -> Start:
    with renamed(data, translated.places):
        start = await start_chat(request, translated.chat)
    make_plan = start.make_plan

    async def make_renamed(info: EngineInfo) -> Plan:
        with renamed(data, translated.places):
            return await make_plan(info)

    start.make_plan = make_renamed
    return start


@post(
    "/v1/messages/count_tokens",
    dto=CountTokensBody,
    return_dto=None,
    status_code=200,
    tags=["Anthropic"],
    summary="How many tokens a conversation in Anthropic's form has as a prompt",
    responses={200: ResponseSpec(TokenCount, description="The number; nothing runs.")},
)
async def count_message_tokens(request: AnyRequest, data: JSONBody[CountTokensRequest]) -> ASGIApp:
    if is_skill(data.model):
        raise refusal("model", "a skill writes its prompts by itself, so there is none to count; leave the count out")
    translated = await _translate(request, data)

    async def count() -> TokenCount:
        return TokenCount(input_tokens=await count_prompt(request, translated.chat))

    with renamed(data, translated.places):
        return json_response(request, await run_until_disconnect(request.receive, count()))
