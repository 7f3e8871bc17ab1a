"""The agent loop: the model is asked, the tools that it calls are run, and it is asked again with their results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from llmos_server.agents.calls import Call, Message, Reply, result_message, to_wire
from llmos_server.agents.limits import LoopLimits
from llmos_server.agents.running import run_call
from llmos_server.agents.tool import ServerTool, ToolOutput
from llmos_server.chat.deltas import TextDelta
from llmos_server.errors import AgentTimedOut

NO_MORE_CALLS = ToolOutput(text="No more calls can be made. Answer with what you have.", is_error=True)
UNKNOWN = ToolOutput(text="There is no such tool any more.", is_error=True)


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """What the model is asked for."""

    messages: list[Message]
    """That the loop has added to the request's own."""
    is_first: bool
    may_call: bool
    """False: this turn has to be the answer."""
    max_tokens: int | None


class Model(Protocol):
    async def ask(self, turn: Turn, tell: Callable[[TextDelta], None]) -> None:
        """tell: called with every delta of the answer, up to the last one. Raises what engines do."""
        ...


class Wrote(msgspec.Struct, frozen=True):
    """A piece of a turn's answer. One with a finish_reason is the turn's last."""

    delta: TextDelta


class CallBegan(msgspec.Struct, frozen=True):
    """Told of calls that the model has written, and of those that a client has approved."""

    call: Call
    tool: ServerTool | None


class CallEnded(msgspec.Struct, frozen=True):
    call: Call
    tool: ServerTool | None
    output: ToolOutput


class ApprovalNeeded(msgspec.Struct, frozen=True):
    """The loop ends with this turn; the client decides."""

    call: Call
    tool: ServerTool


class OutOfTokens(msgspec.Struct, frozen=True):
    """There are none left for another turn."""


LoopEvent = Wrote | CallBegan | CallEnded | ApprovalNeeded | OutOfTokens


@dataclass(kw_only=True)
class AgentLoop:
    """One run of it. Cancelling that cancels the model's answer and all tools.

    Ends with a turn that calls none of the server's tools, or calls some that the client has to run or approve."""

    model: Model
    tools: Mapping[str, ServerTool]
    """By the name that the model calls."""
    limits: LoopLimits
    tell: Callable[[LoopEvent], None]
    approved: Sequence[Call] = ()
    """Calls of earlier answers that are run before the model is asked."""

    def __post_init__(self) -> None:
        self._messages: list[Message] = []
        self._num_calls = 0
        self._num_tokens = 0
        self._places = asyncio.Semaphore(self.limits.max_parallel_calls)
        self._ends_at = time.monotonic() + self.limits.max_seconds if self.limits.max_seconds else None

    async def run(self) -> None:
        """Raises AgentTimedOut, and what engines do."""
        try:
            async with asyncio.timeout(self.limits.max_seconds or None) as clock:
                await self._run()
        except TimeoutError:
            if not clock.expired():
                raise
            raise AgentTimedOut(
                f"The turns and tools of this answer took longer than {self.limits.max_seconds:g} s "
                "(agents.max_seconds). Ask for less at once, or raise that setting."
            ) from None

    async def _run(self) -> None:
        if self.approved:
            self._messages.append(
                {"role": "assistant", "content": None, "tool_calls": list(map(to_wire, self.approved))}
            )
            await self._run_calls(self.approved)
        num_turns = 0
        while True:
            num_turns += 1
            reply = await self._ask(num_turns)
            calls = reply.calls if reply.is_whole else []
            own = [call for call in calls if call.name in self.tools]
            if not own:
                return
            waiting = [call for call in own if self.tools[call.name].needs_approval]
            self._messages.append(reply.message())
            await self._run_calls([call for call in own if call not in waiting])
            for call in waiting:
                self.tell(ApprovalNeeded(call, self.tools[call.name]))
            if waiting or len(own) < len(calls):
                return
            if self._rest() == 0:
                self.tell(OutOfTokens())
                return

    async def _ask(self, num_turns: int) -> Reply:
        reply = Reply()

        def hear(delta: TextDelta) -> None:
            reply.feed(delta)
            self.tell(Wrote(delta))

        is_last = num_turns >= self.limits.max_turns or self._rest_of_calls() == 0
        turn = Turn(
            messages=list(self._messages),
            is_first=num_turns == 1 and not self.approved,
            may_call=not (is_last and self.tools),
            max_tokens=self._rest(),
        )
        await self.model.ask(turn, hear)
        self._num_tokens += reply.num_tokens
        return reply

    async def _run_calls(self, calls: Sequence[Call]) -> None:
        """All at once, as far as there are places; their results stand in the order of the calls."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._run_call(call)) for call in calls]
        for call, task in zip(calls, tasks, strict=True):
            self._messages.append(result_message(call, task.result().text))

    async def _run_call(self, call: Call) -> ToolOutput:
        tool = self.tools.get(call.name)
        if tool is None or self._rest_of_calls() == 0:
            output = UNKNOWN if tool is None else NO_MORE_CALLS
            self.tell(CallBegan(call, tool))
        else:
            self._num_calls += 1
            self.tell(CallBegan(call, tool))
            async with self._places:
                left = None if self._ends_at is None else self._ends_at - time.monotonic()
                output = await run_call(call, tool, max_seconds=left, max_output=self.limits.max_tool_output)
        self.tell(CallEnded(call, tool, output))
        return output

    def _rest(self) -> int | None:
        bound = self.limits.max_tokens
        return None if bound is None else max(bound - self._num_tokens, 0)

    def _rest_of_calls(self) -> int | None:
        bound = self.limits.max_calls
        return None if bound is None else max(bound - self._num_calls, 0)
