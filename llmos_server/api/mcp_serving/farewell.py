"""The end of an answer that the server can't wait for: an error in the stream instead of a torn connection."""

from __future__ import annotations

import msgspec
from litestar.types import Message, Send

from llmos_server.api.http.event_stream import SHUTTING_DOWN
from llmos_server.api.mcp_serving.error_form import INTERNAL_ERROR


class WatchedSend:
    """An ASGI send that knows whether an answer has begun and not ended."""

    def __init__(self, send: Send) -> None:
        self.is_open = False
        self._send = send

    async def __call__(self, message: Message) -> None:
        is_body = message["type"] == "http.response.body"
        self.is_open = bool(message.get("more_body", False)) if is_body else True
        await self._send(message)

    async def end(self, body: bytes) -> None:
        await self({"type": "http.response.body", "body": body, "more_body": False})


def farewell(request: bytes, told: Exception | None) -> bytes:
    """The event that ends this JSON-RPC request: only event streams are open for long. told: None at the server's
    end."""
    error = {"code": INTERNAL_ERROR, "message": SHUTTING_DOWN if told is None else str(told)}
    answer = {"jsonrpc": "2.0", "id": msgspec.json.decode(request).get("id"), "error": error}
    return b"event: message\r\ndata: " + msgspec.json.encode(answer) + b"\r\n\r\n"
