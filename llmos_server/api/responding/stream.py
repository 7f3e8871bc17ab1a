"""A response as server-sent events, from the log of its run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from llmos_server.api.http.event_stream import EventStream
from llmos_server.api.http.opening import open_events
from llmos_server.api.responding.run import ResponseRun
from llmos_server.api.services import services_of


class ResponseStream:
    """Implements api.opening.Streamed. outlives: whether the run goes on when its client leaves."""

    def __init__(self, run: ResponseRun, *, outlives: bool) -> None:
        self._run = run
        self._outlives = outlives

    async def body(self) -> AsyncGenerator[bytes, None]:
        if not self._run.log.num_events:
            seconds = services_of(self._run.request).settings.load_timeout_seconds
            yield f": waiting for the model; a load may take {seconds:g} s at most\n\n".encode()
        async for frames in follow(self._run, 0):
            yield frames

    def expire(self, told: Exception) -> None:
        self._run.expire(told)

    def close(self) -> None:
        if not self._outlives:
            self._run.cancel()


async def open_response_stream(run: ResponseRun, *, outlives: bool = False) -> EventStream:
    """Of a run that was started."""
    first = asyncio.ensure_future(_begun(run))
    settings = services_of(run.request).settings
    return await open_events(run.request, first, ResponseStream(run, outlives=outlives), settings)


async def _begun(run: ResponseRun) -> None:
    """Raises what was refused before there was anything to tell."""
    await run.log.wait(0)
    if run.error is not None and not run.is_told:
        raise run.error


async def follow(run: ResponseRun, place: int) -> AsyncGenerator[bytes, None]:
    """From the event at `place` on."""
    while True:
        await run.log.wait(place)
        frames = run.log.read(place)
        if not frames:
            return
        place += len(frames)
        yield b"".join(frames)
