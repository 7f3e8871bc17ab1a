"""From a wire request to a running answer, collected whole or sent as a stream."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from litestar import Request

from llmos_server.access.limits import Lease
from llmos_server.api.accounting.visits import Visit, scoped_salt
from llmos_server.api.errors import WireError
from llmos_server.api.generation.answer_guard import AnswerGuard
from llmos_server.api.generation.answers import Answer
from llmos_server.api.generation.plans import Plan, submit, wait_ready
from llmos_server.api.http.disconnect import run_until_disconnect
from llmos_server.api.http.event_stream import DONE, EVENT_STREAM, EventStream, frame
from llmos_server.api.http.opening import open_events, tell_failure
from llmos_server.api.served import ServedModel
from llmos_server.api.services import Services
from llmos_server.chat.deltas import TextDelta
from llmos_server.contracts import EngineInfo
from llmos_server.errors import EngineBusy

AnyRequest = Request[Any, Any, Any]


class Frames(Protocol):
    """Writes the steps of one answer as the events of its wire format."""

    def step(self, texts: list[TextDelta]) -> bytes: ...

    def end(self) -> bytes:
        """What follows the last step, without the form's own end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamForm:
    """What a wire format writes around the steps of any answer. OpenAI's, unless told otherwise."""

    done: bytes = DONE
    error: Callable[[WireError], bytes] = lambda wire: frame(wire.body())
    """The last event of a stream that fails: its status was sent before."""
    media_type: str = EVENT_STREAM
    has_comments: bool = True
    """Whether a client that waits is told so, and pinged: formats that aren't server-sent events have no place for
    what is no part of the answer."""
    ping: bytes = b""
    """Sent on an idle stream; a comment when empty."""


OPENAI = StreamForm()


@dataclass(slots=True, kw_only=True)
class Start:
    """All that an endpoint knows of its request before the engine is asked."""

    request: AnyRequest
    services: Services
    served: ServedModel
    make_plan: Callable[[EngineInfo], Awaitable[Plan]]
    """Renders, encodes and checks; raises InvalidRequest."""
    arrival: float
    lease: Lease | None = None
    """The place of a request that asks models several times; None takes one."""
    guard: AnswerGuard | None = None
    """Plugins' filters of the answer."""

    async def run(self) -> Answer:
        """Wait for the model, make the plan, hand over. All that can be refused is refused in here.

        The model is held, and the key's place taken, from before the wait until the answer is closed, or this fails.
        """
        with contextlib.ExitStack() as holds:
            visit = holds.enter_context(Visit(self.request, self.served.id, self.lease))
            holds.enter_context(self.served.engine.hold())
            asked = time.perf_counter()
            info = await wait_ready(self.served, self.services.settings.load_timeout_seconds)
            load_seconds = time.perf_counter() - asked
            visit.use.phase = "queued"
            plan = await self.make_plan(info)
            metrics = self.services.metrics.of(self.served.base_id)
            self.services.metrics.adapter_requests.count(self.served)
            visit.charge_prompt(plan.num_prompt_tokens)
            salt = scoped_salt(visit.principal, plan.cache_salt, self.services.settings.isolate_keys)
            try:
                generations = submit(plan, info, owner=visit.principal.engine_owner, cache_salt=salt)
            except BaseException:
                visit.take_back(plan.num_prompt_tokens)
                raise
            answer = Answer(plan, generations, metrics, self.arrival)
            answer.load_seconds = load_seconds
            answer.on_tokens = visit.charge
            answer.guard = self.guard
            visit.use.answer = answer
            holds.callback(_book, visit, answer)
            answer.on_close = holds.pop_all().close
            return answer

    async def run_to_first_text(self) -> tuple[Answer, list[TextDelta]]:
        answer = await self.run()
        try:
            return answer, await answer.next()
        except BaseException:
            answer.close()
            raise

    async def run_to_end(self) -> tuple[Answer, list[TextDelta]]:
        answer = await self.run()
        try:
            collected: list[TextDelta] = []
            while texts := await answer.next():
                collected += texts
            return answer, collected
        finally:
            answer.close()


def _book(visit: Visit, answer: Answer) -> None:
    visit.book(
        answer.status,
        prompt_tokens=answer.plan.num_prompt_tokens,
        cached_tokens=answer.num_cached_tokens,
        completion_tokens=answer.num_completion_tokens,
        queue_seconds=answer.queue_seconds,
    )


def create_start(
    request: AnyRequest,
    services: Services,
    served: ServedModel,
    make_plan: Callable[[EngineInfo], Awaitable[Plan]],
    guard: AnswerGuard | None = None,
) -> Start:
    return Start(
        request=request,
        services=services,
        served=served,
        make_plan=make_plan,
        arrival=time.perf_counter(),
        guard=guard,
    )


async def collect(request: AnyRequest, start: Start) -> tuple[Answer, list[TextDelta]]:
    """The whole answer. A client that leaves ends it."""
    return await run_until_disconnect(request.receive, start.run_to_end())


async def open_stream(
    request: AnyRequest, start: Start, make_frames: Callable[[Answer], Frames], form: StreamForm = OPENAI
) -> EventStream:
    """Wait a while for the first text, so that what fails by then has its HTTP status; then begin, with pings."""
    settings = start.services.settings
    first = asyncio.ensure_future(start.run_to_first_text())
    stream = StreamedAnswer(first, make_frames, settings.load_timeout_seconds, form)
    return await open_events(
        request,
        first,
        stream,
        settings,
        media_type=form.media_type,
        has_comments=form.has_comments,
        ping=form.ping,
    )


class StreamedAnswer:
    """Streamed: one answer as frames, from its first text on, which may still be awaited."""

    def __init__(
        self,
        first: asyncio.Future[tuple[Answer, list[TextDelta]]],
        make_frames: Callable[[Answer], Frames],
        load_timeout: float,
        form: StreamForm = OPENAI,
    ) -> None:
        """load_timeout: seconds that the request waits for its model; the client is told."""
        self._first = first
        self._make_frames = make_frames
        self._load_timeout = load_timeout
        self._form = form
        self._told: Exception | None = None

    async def body(self) -> AsyncGenerator[bytes, None]:
        """After a failure, an error event and not the form's end."""
        try:
            if self._form.has_comments and not self._first.done():
                yield f": waiting for the model; a load may take {self._load_timeout:g} s at most\n\n".encode()
            await asyncio.wait({self._first})
            if self._first.cancelled():
                raise EngineBusy("The engine was stopped.")
            answer, texts = self._first.result()
            frames = self._make_frames(answer)
            while not answer.is_over:
                if written := frames.step(texts):
                    yield written
                texts = await answer.next()
            yield frames.step(texts) + frames.end() + self._form.done
        except Exception as caught:
            yield self._form.error(tell_failure(caught, self._told))

    def expire(self, told: Exception) -> None:
        """Make the body end soon, with this error."""
        self._told = told
        if answer := self._answer():
            answer.abort()
        else:
            self._first.cancel()

    def close(self) -> None:
        if answer := self._answer():
            answer.close()
        else:
            self._first.cancel()

    def _answer(self) -> Answer | None:
        if self._first.done() and not self._first.cancelled() and self._first.exception() is None:
            return self._first.result()[0]
        return None
