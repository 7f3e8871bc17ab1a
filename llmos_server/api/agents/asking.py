"""The loop's model: each turn is a chat like any other, filtered, booked and held, under the request's one place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from llmos_server.access.limits import Lease
from llmos_server.agents.calls import Message
from llmos_server.agents.loop import Turn
from llmos_server.api.bodies.body import convert
from llmos_server.api.chats.start import start_chat
from llmos_server.api.generation.answers import Answer
from llmos_server.api.schemas.chat import ChatCompletionRequest, ChatMessage
from llmos_server.api.schemas.common import CompletionTokensDetails, PromptTokensDetails, Usage
from llmos_server.chat.deltas import TextDelta
from llmos_server.errors import InvalidRequest


class ChatModel:
    """Implements agents.loop.Model."""

    def __init__(
        self,
        request: Any,
        base: ChatCompletionRequest,
        lease: Lease,
        rename: Callable[[InvalidRequest], InvalidRequest],
    ) -> None:
        """rename: an error of a chat in the words of the request that it was made from."""
        self.on_begin: Callable[[Answer], Awaitable[None]] | None = None
        """Called once a turn's answer is on its way; what could be refused, has been."""
        self.usage = Usage(
            prompt_tokens=0,
            completion_tokens=0,
            total_tokens=0,
            prompt_tokens_details=PromptTokensDetails(),
            completion_tokens_details=CompletionTokensDetails(),
        )
        """Of all turns together."""
        self._request = request
        self._base = base
        self._lease = lease
        self._rename = rename

    async def ask(self, turn: Turn, tell: Callable[[TextDelta], None]) -> None:
        try:
            start = await start_chat(self._request, self._chat(turn), self._lease)
            answer = await start.run()
        except InvalidRequest as error:
            raise self._rename(error) from None
        try:
            if self.on_begin is not None:
                await self.on_begin(answer)
            while deltas := await answer.next():
                for delta in deltas:
                    tell(delta)
        finally:
            self._count(answer)
            answer.close()

    def _chat(self, turn: Turn) -> ChatCompletionRequest:
        choice = self._base.tool_choice
        if not turn.may_call:
            choice = "none"
        elif not turn.is_first:
            choice = without_force(choice)
        return msgspec.structs.replace(
            self._base,
            messages=[*self._base.messages, *map(_to_wire, turn.messages)],
            tool_choice=choice,
            max_completion_tokens=turn.max_tokens,
        )

    def _count(self, answer: Answer) -> None:
        found, usage = answer.usage(), self.usage
        usage.prompt_tokens += found.prompt_tokens
        usage.completion_tokens += found.completion_tokens
        usage.total_tokens += found.total_tokens
        usage.prompt_tokens_details.cached_tokens += found.prompt_tokens_details.cached_tokens
        usage.completion_tokens_details.reasoning_tokens += found.completion_tokens_details.reasoning_tokens
        if isinstance(found.dropped_messages, int):
            usage.dropped_messages = max(found.dropped_messages, usage.dropped_messages or 0)


def _to_wire(message: Message) -> ChatMessage:
    return convert(message, ChatMessage)


def without_force(choice: Any) -> Any:
    """A tool_choice for the turns after a forced one: the model may answer."""
    if choice == "required":
        return "auto"
    if not isinstance(choice, dict):
        return choice
    if choice.get("type") == "allowed_tools":
        return {**choice, "allowed_tools": {**choice["allowed_tools"], "mode": "auto"}}
    return "auto"
