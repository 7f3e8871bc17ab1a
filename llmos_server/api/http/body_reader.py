"""Request bodies, read within limits of time and memory; Litestar limits the length of each (api.max_body_bytes)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from litestar.types import HTTPReceiveMessage, Receive, WebSocketReceiveMessage

from llmos_server.api.errors import ClientDisconnected, RefusedEarly

UPLOADS = frozenset({"/v1/files"})
"""Paths whose bodies are written to the disk while they come."""
SLOWEST_UPLOAD = 16 * 2**10
"""Bytes a second; whoever sends more slowly holds a connection for little."""


class Account:
    """What the body of one request takes of the budget."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.num_bytes = 0

    def add(self, num_bytes: int) -> None:
        """Raises RefusedEarly when the bodies of all open requests take too much."""
        self.num_bytes += num_bytes
        self._budget.num_used += num_bytes
        if self._budget.num_used > self._budget.num_bytes:
            raise RefusedEarly(
                "The bodies of all open requests are too large together; send this one again in a moment.",
                status=503,
                code="server_busy",
                headers={"Retry-After": "5", "Connection": "close"},
            )


class MemoryBudget:
    """How many bytes of bodies may be held at once. For one event loop."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self.num_used = 0

    @contextmanager
    def account(self) -> Iterator[Account]:
        """One request's share, given back at its end."""
        account = Account(self)
        try:
            yield account
        finally:
            self.num_used -= account.num_bytes


class BodyReader:
    """An ASGI receive. The whole body has to come within `seconds`; what comes after it, the client's leaving, may take
    its time. Raises RefusedEarly, and ClientDisconnected when the client leaves before the end of its body."""

    def __init__(self, receive: Receive, account: Account, seconds: float, *, is_upload: bool = False) -> None:
        """is_upload: of any length, as the handler limits it and holds little of it in memory; it may take longer by
        the time that SLOWEST_UPLOAD needs for it."""
        self._receive = receive
        self._account = account
        self._seconds = seconds
        self._is_upload = is_upload
        self._deadline: float | None = None
        self._has_body = False

    async def __call__(self) -> HTTPReceiveMessage | WebSocketReceiveMessage:
        if self._has_body:
            return await self._receive()
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise RefusedEarly(
                f"The request's body did not come within {self._seconds:g} s (setting api.body_timeout_seconds).",
                status=408,
                code="request_timeout",
                headers={"Connection": "close"},
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        if message["type"] == "http.request":
            self._has_body = not message.get("more_body", False)
            self._note(len(message.get("body", b"")))
        return message

    def _note(self, num_bytes: int) -> None:
        if self._is_upload and self._deadline is not None:
            self._deadline += num_bytes / SLOWEST_UPLOAD
        else:
            self._account.add(num_bytes)
