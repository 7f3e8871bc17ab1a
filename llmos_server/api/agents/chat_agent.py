"""Chat completions whose `tools` name some of the server's own: the loop runs them, and the client gets one answer."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from typing import Any

import msgspec
from litestar.types import ASGIApp

from llmos_server.agents.toolbox import Toolbox
from llmos_server.api.accounting.visits import take_place
from llmos_server.api.agents.asking import ChatModel
from llmos_server.api.agents.chat_relay import TurnRelay
from llmos_server.api.agents.looping import create_loop, create_model
from llmos_server.api.agents.renaming import moved
from llmos_server.api.chats.frames import ChatFrames, to_completion
from llmos_server.api.generation.answers import Answer
from llmos_server.api.http.access import principal_of
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.event_stream import DONE, frame
from llmos_server.api.http.opening import open_events, tell_failure
from llmos_server.api.http.responses import json_response
from llmos_server.api.schemas.chat import ChatCompletionRequest
from llmos_server.api.schemas.common import Usage
from llmos_server.api.services import services_of
from llmos_server.api.skills.chat import is_skill
from llmos_server.chat.deltas import TextDelta
from llmos_server.errors import InvalidRequest


class AgentChatRequest(ChatCompletionRequest, kw_only=True):
    """tools: the client's own."""

    server_tools: list[tuple[str, dict[str, Any]]] = []
    """Entries of `tools` that are the server's, with their places."""
    tool_places: list[str] = []
    """Of the others."""


async def answer_by_loop(request: Any, data: AgentChatRequest) -> ASGIApp:
    """Raises InvalidRequest, Forbidden and what the model's engine raises."""
    _refuse_together(data)
    run = _ChatRun(request, data)
    if data.stream:
        settings = services_of(request).settings
        return await open_events(request, asyncio.ensure_future(run.begun()), run, settings)
    await run_until_disconnect(request.receive, run.to_end())
    return json_response(request, to_completion(run.answer, run.deltas))


def _refuse_together(data: AgentChatRequest) -> None:
    if is_skill(data.model):
        raise InvalidRequest(
            "tools can't be had of a skill: it answers once, in its own form. Leave tools out.",
            param="tools",
            code="unsupported_parameter",
        )
    sent = {
        "n": (data.n or 1) > 1,
        "continue_final_message": data.continue_final_message,
        "return_token_ids": data.return_token_ids,
    }
    for name, is_sent in sent.items():
        if is_sent:
            raise InvalidRequest(
                f"{name} can't be had together with tools that the server runs; leave it out.",
                param=name,
                code="unsupported_parameter",
            )


class _Turns:
    """Of all turns, what frames ask an Answer for: the first one's plan, and the usage of all."""

    def __init__(self, first: Answer, model: ChatModel) -> None:
        self.plan = first.plan
        self._model = model

    def usage(self) -> Usage:
        return self._model.usage


class _ChatRun:
    """Implements Streamed."""

    def __init__(self, request: Any, data: AgentChatRequest) -> None:
        self.deltas: list[TextDelta] = []
        self._request = request
        self._data = data
        self._toolbox = _open_sources(request, data)
        self._notes: list[str] = []
        """Lines for people."""
        self._first: Answer | None = None
        self._model: ChatModel | None = None
        self._wake = asyncio.Event()
        self._told: Exception | None = None
        self._place = ExitStack()
        self._lease = self._place.enter_context(take_place(request, uses_tokens=True))
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: self._rouse())

    @property
    def answer(self) -> Any:
        assert self._first is not None
        assert self._model is not None
        return _Turns(self._first, self._model)

    async def begun(self) -> None:
        """Raises what fails before the first text."""
        while not self.deltas and not self._task.done():
            await self._wake.wait()
        if not self.deltas:
            self._task.result()

    async def to_end(self) -> None:
        try:
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            self.close()
            await asyncio.wait({self._task})
            raise

    async def body(self) -> AsyncGenerator[bytes, None]:
        """As chats stream. What tools do is told in comments, which clients pass over."""
        place = num_notes = 0
        frames: ChatFrames | None = None
        try:
            while True:
                is_over = self._task.done()
                deltas, notes = self.deltas[place:], self._notes[num_notes:]
                place, num_notes = place + len(deltas), num_notes + len(notes)
                if deltas:
                    frames = frames or ChatFrames(self.answer, self._data.stream_options)
                    yield frames.step(deltas)
                if notes:
                    yield "".join(f": {note}\n\n" for note in notes).encode()
                if is_over:
                    break
                if place == len(self.deltas) and num_notes == len(self._notes):
                    await self._wake.wait()
            self._task.result()
            assert frames is not None
            yield frames.end() + DONE
        except (Exception, asyncio.CancelledError) as caught:
            if isinstance(caught, asyncio.CancelledError) and self._told is None:
                raise
            yield frame(tell_failure(caught, self._told).body())

    def expire(self, told: Exception) -> None:
        self._told = told
        self._task.cancel()

    def close(self) -> None:
        self._task.cancel()
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    async def _run(self) -> None:
        try:
            await self._loop()
        finally:
            self._place.close()
            await self._toolbox.close()

    async def _loop(self) -> None:
        data, services = self._data, services_of(self._request)
        functions = [tool.function.name for tool in data.tools or [] if tool.function]
        listings = await self._toolbox.open(functions, services.settings.max_tools)
        for listing in listings:
            if listing.error is not None:
                raise InvalidRequest(f"tools: {listing.error}", param="tools", code="tool_source_failed")
        _refuse_approval(self._toolbox)
        relay = TurnRelay(self._tell, self._note)
        relay.tools = self._toolbox.tools
        chat = _without_server_tools(data)
        self._model = create_model(
            self._request, chat, self._toolbox, self._lease, functools.partial(moved, tools=data.tool_places)
        )
        self._model.on_begin = self._begin
        bound = data.max_completion_tokens or (data.max_tokens if (data.max_tokens or 0) > 0 else None)
        await create_loop(self._request, self._model, self._toolbox, relay.hear, max_tokens=bound).run()
        relay.finish()

    async def _begin(self, answer: Answer) -> None:
        self._first = self._first or answer

    def _tell(self, delta: TextDelta) -> None:
        self.deltas.append(delta)
        self._rouse()

    def _note(self, note: str) -> None:
        self._notes.append(note)
        self._rouse()

    def _rouse(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()


def _open_sources(request: Any, data: AgentChatRequest) -> Toolbox:
    providers, principal = services_of(request).tool_providers, principal_of(request)
    return Toolbox(
        [
            providers[entry["type"]].open(entry, where=where, principal=principal, request=request)
            for where, entry in data.server_tools
        ]
    )


def _refuse_approval(toolbox: Toolbox) -> None:
    waiting = [tool for tool in toolbox.tools.values() if tool.needs_approval]
    if waiting:
        raise InvalidRequest(
            f"tools: {waiting[0].shown_name} of {waiting[0].label} needs approval, which a chat has no place for. Send "
            'this to /v1/responses, or "require_approval": "never" in its entry.',
            param="tools",
            code="approval_needed",
        )


def _without_server_tools(data: AgentChatRequest) -> ChatCompletionRequest:
    fields = {name: getattr(data, name) for name in ChatCompletionRequest.__struct_fields__}
    return msgspec.structs.replace(ChatCompletionRequest(**fields), stream=None, stream_options=None)
