"""MCP over HTTP: a client of bounded answers, which follows redirects on the same host only (the SDK sees to that)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx2

CONNECT_SECONDS = 10.0
MAX_CONNECTIONS = 64


class TooLarge(httpx2.StreamError):
    """The SDK makes an answer with an error of it, for the one request."""


class BoundedTransport(httpx2.AsyncBaseTransport):
    """Ends answers that are too large; event streams have a bound on each event instead."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, max_bytes: int) -> None:
        self._inner = inner
        self._max_bytes = max_bytes
        self.last_refusal: int | None = None
        """The last HTTP status that told an error."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        if response.status_code >= 400:
            self.last_refusal = response.status_code
        stream: httpx2.AsyncByteStream = response.stream
        if response.headers.get("content-encoding", "identity") != "identity":
            stream = _Bounded(stream, -1, "it is compressed, although that wasn't asked for")
        elif not response.headers.get("content-type", "").startswith("text/event-stream"):
            stream = _Bounded(stream, self._max_bytes, f"it has more than {self._max_bytes} bytes")
        return httpx2.Response(
            response.status_code, headers=response.headers, stream=stream, extensions=response.extensions
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream, max_bytes: int, reason: str) -> None:
        self._inner = inner
        self._max_bytes = max_bytes
        self._reason = reason

    async def __aiter__(self) -> AsyncIterator[bytes]:
        num_bytes = 0
        if self._max_bytes < 0:
            raise TooLarge(self._reason)
        async for chunk in self._inner:
            num_bytes += len(chunk)
            if num_bytes > self._max_bytes:
                raise TooLarge(self._reason)
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def create_inner() -> httpx2.AsyncHTTPTransport:
    return httpx2.AsyncHTTPTransport(limits=httpx2.Limits(max_connections=MAX_CONNECTIONS))


def create_http_client(transport: BoundedTransport, headers: Mapping[str, str]) -> httpx2.AsyncClient:
    """Calls have time limits of their own, which leave the others alone."""
    return httpx2.AsyncClient(
        transport=transport,
        headers={"Accept-Encoding": "identity", "User-Agent": "llmos", **headers},
        timeout=httpx2.Timeout(None, connect=CONNECT_SECONDS),
    )
