"""Server-sent events of what goes on: for a watcher who looks on until it leaves or the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.event_stream import EventStream, encode
from llmos_server.api.services import services_of

Look = Callable[[], Awaitable[list[bytes]]]


def event(name: str, content: Any, event_id: str | None = None) -> bytes:
    """One event. event_id: what a client that comes again sends as Last-Event-ID."""
    line = f"id: {event_id}\n" if event_id is not None else ""
    return f"{line}event: {name}\ndata: ".encode() + encode(content) + b"\n\n"


def open_watch_stream(request: AnyRequest, look: Look, seconds: float) -> EventStream:
    """look: the events since it was last called. It is called again when they were sent, so a slow reader is never
    ahead of what is kept in memory; after so many seconds where there were none. A server that stops ends the stream at
    once. Raises QueueFull."""
    services = services_of(request)
    services.watchers.enter()
    stopping = asyncio.Event()

    async def body() -> AsyncGenerator[bytes, None]:
        while not stopping.is_set():
            if events := await look():
                yield b"".join(events)
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), seconds)

    return EventStream(
        body(),
        expire=lambda _: stopping.set(),
        close=services.watchers.leave,
        ping_seconds=services.settings.ping_seconds,
        grace_seconds=0,
    )
