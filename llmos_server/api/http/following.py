"""Live figures as server-sent events: the first at once, then one each interval, until either side ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from llmos_server.api.errors import describe, report
from llmos_server.api.http.event_stream import EventStream, named_frame, one_line
from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest

DEFAULT_SECONDS = 1.0
MIN_SECONDS, MAX_SECONDS = 0.1, 60.0


def read_interval(text: str | None) -> float:
    """Raises InvalidRequest."""
    try:
        seconds = DEFAULT_SECONDS if text is None else float(text[:20])
    except ValueError:
        seconds = 0.0
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise InvalidRequest(f"interval is in seconds, from {MIN_SECONDS:g} to {MAX_SECONDS:g}.", param="interval")
    return seconds


def open_live(
    request: Any,
    name: str,
    take: Callable[[], Awaitable[bytes]],
    interval: float,
    pace: Callable[[float], float] = lambda interval: interval,
) -> EventStream:
    """name: of the events, whose data, JSON, is what `take` gives. Ends with an event "error" when that raises, and at
    once when the server stops. pace: seconds from one event to the next, of those that were
    asked for; called after each. Raises QueueFull."""
    services, stopped = services_of(request), asyncio.Event()
    services.watchers.enter()
    return EventStream(
        _events(name, take, lambda: pace(interval), stopped),
        expire=lambda _: stopped.set(),
        close=services.watchers.leave,
        ping_seconds=services.settings.ping_seconds,
        grace_seconds=0.0,
    )


async def _events(
    name: str, take: Callable[[], Awaitable[bytes]], interval: Callable[[], float], stopped: asyncio.Event
) -> AsyncGenerator[bytes, None]:
    while not stopped.is_set():
        try:
            data = await take()
        except Exception as error:
            wire = describe(error)
            report(error, wire)
            yield named_frame("error", wire.body())
            return
        yield named_frame(name, one_line(data))
        try:
            async with asyncio.timeout(seconds_to_next(interval(), time.monotonic())):
                await stopped.wait()
        except TimeoutError:
            continue


def seconds_to_next(interval: float, now: float) -> float:
    """All who have the same interval are told at the same moments, so that one sample does for all of them. Half an
    interval to one and a half."""
    seconds = interval - now % interval
    return seconds if seconds >= interval / 2 else seconds + interval
