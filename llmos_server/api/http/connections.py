"""uvicorn's HTTP protocol with bounds for what comes before a request's body: it has none of its own.

Without them a client could send headers without end, or one byte an hour, and keep memory and a file handle for it.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from llmos_server.api.errors import WireError

MAX_HEAD_BYTES = 128 * 2**10
"""Request line and headers. The guard refuses less, in more words; this bounds what is kept of an endless one."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection that sends no whole head in time, or too large a one, is closed.

    An idle one between two requests is uvicorn's business (timeout_keep_alive).
    """

    head_seconds = 30.0

    _is_in_head = False
    _num_head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._is_in_head:
            self._num_head_bytes += len(data)
            if self._num_head_bytes > MAX_HEAD_BYTES:
                self._refuse()
        if self._is_in_head or self.cycle is None or self.cycle.response_complete:
            self._arm()
        else:
            self._disarm()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._num_head_bytes = True, 0

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._is_in_head = False

    def _arm(self) -> None:
        """Once for each head: more bytes give no more time."""
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.head_seconds, self.transport.close)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self) -> None:
        wire = WireError(431, f"The headers are longer than {MAX_HEAD_BYTES} bytes.", code="headers_too_large")
        body = wire.body()
        head = (
            "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
