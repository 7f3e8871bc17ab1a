"""How every stream of an answer begins: what fails at once has its HTTP status, then come events and pings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Protocol

from llmos_server.api.errors import WireError, describe, report
from llmos_server.api.flights import flight_of
from llmos_server.api.http.disconnect import wait_until_disconnect
from llmos_server.api.http.event_stream import EVENT_STREAM, EventStream
from llmos_server.settings import ApiSettings


class Streamed(Protocol):
    """Work that goes on, and what is told of it."""

    def body(self) -> AsyncGenerator[bytes, None]:
        """Ends by itself, after a failure, too, with an event that tells it."""
        ...

    def expire(self, told: Exception) -> None:
        """Make the body end soon, with this error."""
        ...

    def close(self) -> None:
        """Give the work up. Also called when the body never began, or has ended."""
        ...


async def open_events(
    request: Any,
    first: asyncio.Future[Any],
    streamed: Streamed,
    settings: ApiSettings,
    *,
    media_type: str = EVENT_STREAM,
    has_comments: bool = True,
    ping: bytes = b"",
) -> EventStream:
    """Waits a while for `first`, the first thing there is to tell, and raises what it raises by then. has_comments: the
    form has a place for pings. ping: see EventStream."""
    flight_of(request).is_stream = True
    try:
        if await wait_until_disconnect(request.receive, first, timeout=settings.ping_seconds / 2):
            first.result()
    except BaseException:
        streamed.close()
        raise
    return EventStream(
        streamed.body(),
        expire=streamed.expire,
        close=streamed.close,
        ping_seconds=settings.ping_seconds if has_comments else 0,
        grace_seconds=settings.grace_seconds,
        media_type=media_type,
        ping=ping,
    )


def tell_failure(caught: BaseException, told: Exception | None) -> WireError:
    """What the last event of a stream that has failed tells; reported, too. told: what Streamed.expire was called with,
    if it was."""
    error = told or caught
    wire = describe(error)
    report(error, wire)
    return wire
