"""A skill under a model's name: `skill:NAME` in chat completions, so that any chat program can use it."""

from __future__ import annotations

import time

import msgspec
from litestar.types import ASGIApp

from llmos_server.api.errors import WireError
from llmos_server.api.generation.plans import new_id
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.event_stream import frame
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.chat import (
    AssistantMessage,
    ChatChoice,
    ChatCompletion,
    ChatCompletionChunk,
    ChatCompletionRequest,
    ChunkChoice,
    ChunkDelta,
)
from llmos_server.api.schemas.common import StreamOptions
from llmos_server.api.schemas.skills import SkillEvent, SkillResult
from llmos_server.api.skills.access import PREFIX, find_skill
from llmos_server.api.skills.input import read_chat
from llmos_server.api.skills.run import SkillRun, create_run
from llmos_server.api.skills.stream import open_run_stream


def is_skill(model: str | None) -> bool:
    return model is not None and model.startswith(PREFIX)


async def answer_by_skill(request: AnyRequest, data: ChatCompletionRequest) -> ASGIApp:
    """data.model: a skill's name."""
    assert data.model is not None
    offer = find_skill(request, data.model.removeprefix(PREFIX), param="model")
    given, model = read_chat(request, offer.value, data)
    run = await create_run(request, offer, model, given)
    if data.stream:
        return await open_run_stream(run, SkillChatFrames(run, data.stream_options))
    result = await run_until_disconnect(request.receive, run.run())
    return json_response(request, to_completion(run, result))


def to_completion(run: SkillRun, result: SkillResult) -> ChatCompletion:
    message = AssistantMessage(content=to_text(result))
    return ChatCompletion(
        id=new_id("chatcmpl"),
        created=result.created,
        model=PREFIX + result.skill,
        system_fingerprint=fingerprint(run),
        choices=[ChatChoice(index=0, message=message, logprobs=None, finish_reason="stop")],
        usage=result.usage,
    )


def to_text(result: SkillResult) -> str:
    """A result that is no string is written as JSON."""
    return result.result if isinstance(result.result, str) else msgspec.json.encode(result.result).decode()


def fingerprint(run: SkillRun) -> str:
    """Changes with the model's files, and with the skill's version."""
    return f"{run.served.fingerprint}_{run.skill.name}@{run.skill.version}"


class SkillChatFrames:
    """RunFrames in chunks of a chat. Progress is told in comments, which clients pass over."""

    def __init__(self, run: SkillRun, options: StreamOptions | None) -> None:
        self._run = run
        self._id = new_id("chatcmpl")
        self._created = 0
        self._wants_usage = bool(options and options.include_usage)
        self._has_begun = False

    def event(self, event: SkillEvent) -> bytes:
        """Usage is known at the end only: chunks before have null, as without continuous_usage_stats."""
        if event.type == "text" and isinstance(event.text, str):
            return self._text(event.text)
        note = f" {event.note}" if isinstance(event.note, str) and event.note else ""
        of = f"/{event.total:g}" if isinstance(event.total, float | int) else ""
        return f": progress {event.done:g}{of}{' '.join(note.splitlines())}\n\n".encode()

    def result(self, result: SkillResult, written: str) -> bytes:
        rest = self._text(to_text(result)[len(written) :])
        ended = self._chunk([ChunkChoice(index=0, delta=ChunkDelta(), finish_reason="stop")])
        if not self._wants_usage:
            return rest + ended
        chunk = self._create([])
        chunk.usage = result.usage
        return rest + ended + frame(msgspec.json.encode(chunk))

    def error(self, wire: WireError) -> bytes:
        return frame(wire.body())

    def _text(self, text: str) -> bytes:
        begin = b""
        if not self._has_begun:
            self._has_begun = True
            begin = self._chunk([ChunkChoice(index=0, delta=ChunkDelta(role="assistant", content=""))])
        return begin + (self._chunk([ChunkChoice(index=0, delta=ChunkDelta(content=text))]) if text else b"")

    def _chunk(self, choices: list[ChunkChoice]) -> bytes:
        chunk = self._create(choices)
        if self._wants_usage:
            chunk.usage = None
        return frame(msgspec.json.encode(chunk))

    def _create(self, choices: list[ChunkChoice]) -> ChatCompletionChunk:
        self._created = self._created or int(time.time())
        return ChatCompletionChunk(
            id=self._id,
            created=self._created,
            model=PREFIX + self._run.skill.name,
            system_fingerprint=fingerprint(self._run),
            choices=choices,
        )
