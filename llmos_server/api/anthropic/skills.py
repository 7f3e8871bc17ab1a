"""A skill under a model's name, `skill:NAME`, in Anthropic's API."""

from __future__ import annotations

import uuid

from litestar.types import ASGIApp

from llmos_server.api.anthropic.errors import error_event
from llmos_server.api.anthropic.frames import PING, event
from llmos_server.api.anthropic.renaming import renamed
from llmos_server.api.anthropic.request import to_chat
from llmos_server.api.anthropic.thinking import NO_THINKING
from llmos_server.api.bodies.unknown_fields import tell_unknown
from llmos_server.api.errors import WireError
from llmos_server.api.generation.starting import AnyRequest, StreamForm
from llmos_server.api.http.context import request_id_of
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.anthropic import (
    AnthropicMessage,
    MessagesRequest,
    MessageUsage,
    OutputTokensDetails,
    StopReason,
    TextBlock,
)
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.schemas.common import Usage
from llmos_server.api.schemas.skills import SkillEvent, SkillResult
from llmos_server.api.services import services_of
from llmos_server.api.skills.access import PREFIX, find_skill
from llmos_server.api.skills.chat import to_text
from llmos_server.api.skills.input import read_chat
from llmos_server.api.skills.run import create_run
from llmos_server.api.skills.stream import open_run_stream

_WITHOUT_EFFECT = (
    "max_tokens",
    "on_overflow",
    "stop_sequences",
    "system",
    "temperature",
    "thinking",
    "top_k",
    "top_p",
)
"""A skill's answer has a length and a form of its own. What asks for another one (tools, a format) is refused."""


async def answer_by_skill(request: AnyRequest, data: MessagesRequest) -> ASGIApp:
    """data.model: a skill's name. The last message is its text."""
    assert data.model is not None
    offer = find_skill(request, data.model.removeprefix(PREFIX), param="model")
    translated = to_chat(data, NO_THINKING, services_of(request).settings.max_tool_output)
    asked = ChatCompletionRequest(
        model=data.model,
        messages=translated.chat.messages[-1:],
        tools=translated.chat.tools,
        response_format=translated.chat.response_format,
    )
    with renamed(data, [translated.places[-1].partition(".")[0]]):
        given, model = read_chat(request, offer.value, asked)
    tell_unknown(request, [*_without_effect(data), *translated.ignored])
    run = await create_run(request, offer, model, given)
    frames = SkillMessageFrames(data.model, request_id_of(request))
    if data.stream:
        return await open_run_stream(run, frames, StreamForm(done=b"", ping=PING))
    result = await run_until_disconnect(request.receive, run.run())
    return json_response(request, frames.whole(result))


def _without_effect(data: MessagesRequest) -> list[str]:
    sent = [name for name in _WITHOUT_EFFECT if getattr(data, name) is not None]
    if data.output_config is not None and data.output_config.effort is not None:
        sent.append("output_config.effort")
    if len(data.messages) > 1:
        sent.append(f"messages[0..{len(data.messages) - 2}]")
    return sent


class SkillMessageFrames:
    """RunFrames as Anthropic's events. There is no place for progress."""

    def __init__(self, model: str, request_id: str) -> None:
        self._model = model
        self._request_id = request_id
        self._id = f"msg_{uuid.uuid4().hex}"
        self._has_begun = self._has_text = False

    def event(self, event: SkillEvent) -> bytes:
        return self._text(event.text) if event.type == "text" and isinstance(event.text, str) else b""

    def result(self, result: SkillResult, written: str) -> bytes:
        rest = self._text(to_text(result)[len(written) :])
        closed = event("content_block_stop", index=0) if self._has_text else b""
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        ended = event("message_delta", delta=delta, usage=_usage(result.usage))
        return b"".join([rest, self._begin(), closed, ended, event("message_stop")])

    def error(self, wire: WireError) -> bytes:
        return error_event(wire, self._request_id)

    def whole(self, result: SkillResult) -> AnthropicMessage:
        return self._message(to_text(result), "end_turn", _usage(result.usage))

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        begin = self._begin()
        if not self._has_text:
            self._has_text = True
            begin += event("content_block_start", index=0, content_block=TextBlock(text=""))
        return begin + event("content_block_delta", index=0, delta={"type": "text_delta", "text": text})

    def _begin(self) -> bytes:
        """Usage is known at the end only."""
        if self._has_begun:
            return b""
        self._has_begun = True
        return event("message_start", message=self._message("", None, _usage(None))) + PING

    def _message(self, text: str, stop_reason: StopReason | None, usage: MessageUsage) -> AnthropicMessage:
        return AnthropicMessage(
            id=self._id,
            model=self._model,
            content=[TextBlock(text=text)] if text else [],
            stop_reason=stop_reason,
            stop_sequence=None,
            usage=usage,
        )


def _usage(usage: Usage | None) -> MessageUsage:
    """Of all that the skill has asked of models."""
    cached = usage.prompt_tokens_details.cached_tokens if usage is not None else 0
    return MessageUsage(
        input_tokens=usage.prompt_tokens - cached if usage is not None else 0,
        cache_read_input_tokens=cached,
        output_tokens=usage.completion_tokens if usage is not None else 0,
        output_tokens_details=OutputTokensDetails(thinking_tokens=0),
    )
