"""Streams, of server-sent events unless told otherwise: pings, and an orderly end when the client leaves or the server
stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import anyio
import msgspec
from litestar.types import Receive, Scope, Send
from sse_starlette import EventSourceResponse

from llmos_server.api.flights import flight_in
from llmos_server.errors import EngineBusy

EVENT_STREAM = "text/event-stream"
DONE = b"data: [DONE]\n\n"
SHUTTING_DOWN = "The server is shutting down and the grace time is over. Send the request again later."
CLOSING_SECONDS = 2.0
"""After the grace time, for the last event to be sent."""


_LINE_ENDS = ((b"\xc2\x85", b"\\u0085"), (b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"))
_to_json = msgspec.json.Encoder().encode


def encode(value: Any) -> bytes:
    """JSON on one line; see one_line."""
    return one_line(_to_json(value))


def one_line(data: bytes) -> bytes:
    """JSON, for clients, too, that take Unicode's line separators for the end of a line (httpx does)."""
    if not data.isascii():
        for end, escaped in _LINE_ENDS:
            data = data.replace(end, escaped)
    return data


def frame(data: bytes) -> bytes:
    """One event. data: what `encode` returns."""
    return b"data: " + data + b"\n\n"


def named_frame(name: str, data: bytes) -> bytes:
    """One event with a name of its own."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


class _UntimedSource(EventSourceResponse):
    """Sends have no time limit here; the base class would open and close a cancel scope around each all the same, which
    is a fifth of what this process spends on a token."""

    async def _send_with_timeout(self, send: Any, message: Any) -> None:
        await send(message)


class EventStream:
    """An ASGI app that sends what `body` yields, each piece whole events or lines.

    ping_seconds: 0 sends no pings, which are comments of server-sent events.

    The client leaves: the body is cancelled at once. The server stops: the body may go on for the grace time, then
    `expire` is called and has to make it end; so it is, at once, when an administrator ends the request. It takes what
    the client is to be told. `close` is called last in every case, also when the body never began.
    """

    def __init__(
        self,
        body: AsyncGenerator[bytes, None],
        *,
        expire: Callable[[Exception], None],
        close: Callable[[], None],
        ping_seconds: float,
        grace_seconds: float,
        media_type: str = EVENT_STREAM,
        ping: bytes = b"",
    ) -> None:
        """ping: a whole event for an idle stream; a comment when empty."""
        self._body = body
        self._expire = expire
        self._close = close
        self._ping_seconds = ping_seconds
        self._grace_seconds = grace_seconds
        self._media_type = media_type
        self._ping = ping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        stopping = anyio.Event()
        watch = asyncio.create_task(self._expire_after_grace(stopping))
        response = _UntimedSource(
            self._body,
            media_type=self._media_type,
            sep="\n",
            ping=self._ping_seconds,
            ping_message_factory=(lambda: self._ping) if self._ping else None,  # type: ignore[arg-type,return-value]
            headers={"Cache-Control": "no-cache"},
            shutdown_event=stopping,
            shutdown_grace_period=self._grace_seconds + CLOSING_SECONDS,
        )
        try:
            with flight_in(scope).streamed(self._expire):
                await response(scope, receive, send)  # type: ignore[arg-type]
        finally:
            watch.cancel()
            await self._body.aclose()
            self._close()

    async def _expire_after_grace(self, stopping: anyio.Event) -> None:
        await stopping.wait()
        await asyncio.sleep(self._grace_seconds)
        self._expire(EngineBusy(SHUTTING_DOWN))
