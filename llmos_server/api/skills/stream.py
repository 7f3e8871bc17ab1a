"""A run as server-sent events: an HTTP status for what fails at once, then events, pings and an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Protocol

from llmos_server.api.errors import WireError
from llmos_server.api.generation.starting import OPENAI, StreamForm
from llmos_server.api.http.event_stream import EventStream
from llmos_server.api.http.opening import open_events, tell_failure
from llmos_server.api.schemas.skills import SkillEvent, SkillResult
from llmos_server.api.services import services_of
from llmos_server.api.skills.run import SkillRun


class RunFrames(Protocol):
    """Writes a run as frames."""

    def event(self, event: SkillEvent) -> bytes: ...

    def result(self, result: SkillResult, written: str) -> bytes:
        """The end, without the form's own. written: what text events have told of the result."""
        ...

    def error(self, wire: WireError) -> bytes: ...


async def open_run_stream(run: SkillRun, frames: RunFrames, form: StreamForm = OPENAI) -> EventStream:
    """Waits a while for the first event."""
    settings = services_of(run.request).settings
    stream = _StreamedRun(run, frames, form.done)
    return await open_events(
        run.request,
        stream.first,
        stream,
        settings,
        media_type=form.media_type,
        has_comments=form.has_comments,
        ping=form.ping,
    )


class _StreamedRun:
    """Streamed."""

    def __init__(self, run: SkillRun, frames: RunFrames, done: bytes) -> None:
        self.task = asyncio.ensure_future(run.run())
        self.first = asyncio.ensure_future(self._wait_first(run))
        self.first.add_done_callback(_forget)  # What it raises late, the body tells.
        self._run = run
        self._frames = frames
        self._done = done
        self._told: Exception | None = None

    async def _wait_first(self, run: SkillRun) -> None:
        """A run that ends at once is over by then. Raises what ended it."""
        await run.events.wait()
        await asyncio.sleep(0)
        if self.task.done():
            self.task.result()

    async def body(self) -> AsyncGenerator[bytes, None]:
        """After a failure, an error event and not the form's end."""
        try:
            while events := await self._run.events.next():
                if written := b"".join(self._frames.event(event) for event in events):
                    yield written
            result = await self.task
            yield self._frames.result(result, self._run.events.written) + self._done
        except (Exception, asyncio.CancelledError) as caught:
            if isinstance(caught, asyncio.CancelledError) and self._told is None:
                raise
            yield self._frames.error(tell_failure(caught, self._told))

    def expire(self, told: Exception) -> None:
        self._told = told
        self.task.cancel()

    def close(self) -> None:
        self.first.cancel()
        self.task.cancel()
        self.task.add_done_callback(_forget)


def _forget(task: asyncio.Future[Any]) -> None:
    """Nobody else has to ask for its error."""
    if not task.cancelled():
        task.exception()
