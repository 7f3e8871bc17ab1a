"""A run as server-sent events: an HTTP status for what fails at once, then events, pings and an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Protocol

from llmos_server.api.disconnect import wait_until_disconnect
from llmos_server.api.errors import WireError, describe, report
from llmos_server.api.event_stream import DONE, EventStream
from llmos_server.api.schemas.skills import SkillEvent, SkillResult
from llmos_server.api.services import services_of
from llmos_server.api.skill_run import SkillRun
from llmos_server.api.starting import SHUTTING_DOWN
from llmos_server.errors import EngineBusy


class RunFrames(Protocol):
    """Writes a run as frames."""

    def event(self, event: SkillEvent) -> bytes: ...

    def result(self, result: SkillResult, written: str) -> bytes:
        """The end, without [DONE]. written: what text events have told of the result."""
        ...

    def error(self, wire: WireError) -> bytes: ...


async def open_run_stream(run: SkillRun, frames: RunFrames) -> EventStream:
    """Waits a while for the first event."""
    settings = services_of(run.request).settings
    stream = _StreamedRun(run, frames)
    try:
        await wait_until_disconnect(run.request.receive, stream.first, timeout=settings.ping_seconds / 2)
        if stream.task.done():
            stream.task.result()
    except BaseException:
        stream.close()
        raise
    return EventStream(
        stream.body(),
        expire=stream.expire,
        close=stream.close,
        ping_seconds=settings.ping_seconds,
        grace_seconds=settings.grace_seconds,
    )


class _StreamedRun:
    def __init__(self, run: SkillRun, frames: RunFrames) -> None:
        self.task = asyncio.ensure_future(run.run())
        self.first = asyncio.ensure_future(self._wait_first(run))
        self._run = run
        self._frames = frames
        self._is_expired = False

    async def _wait_first(self, run: SkillRun) -> None:
        """A run that ends at once is over by then."""
        await run.events.wait()
        await asyncio.sleep(0)

    async def body(self) -> AsyncGenerator[bytes, None]:
        """After a failure, an error event and no [DONE]."""
        try:
            while events := await self._run.events.next():
                yield b"".join(self._frames.event(event) for event in events)
            result = await self.task
            yield self._frames.result(result, self._run.events.written) + DONE
        except (Exception, asyncio.CancelledError) as caught:
            if isinstance(caught, asyncio.CancelledError) and not self._is_expired:
                raise
            error = EngineBusy(SHUTTING_DOWN) if self._is_expired else caught
            wire = describe(error)
            report(error, wire)
            yield self._frames.error(wire)

    def expire(self) -> None:
        self._is_expired = True
        self.task.cancel()

    def close(self) -> None:
        self.first.cancel()
        self.task.cancel()
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())
