"""A server for the terminal interface, in this process: an HTTP transport whose answers are data of tests.

    server = FakeServer()                          # routes of tui_data.py are there from the start
    server.on("GET", "/admin/v1/jobs", lambda request: {"object": "list", "data": [...]})
    server.stream("GET", "/admin/v1/logs", "log", [row, row])
    server.is_up = False                           # connections are refused, open streams break
    server.feed("/admin/v1/live").send("overview", overview)      # another event on all open streams of this path

Answers are structs of the server, dicts, a Refusal, or a Stream. `server.asked` lists (method, path, query, body).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec

ADMIN_KEY = "sk-admin"


@dataclass
class Refusal:
    """An error in OpenAI's form."""

    status: int
    message: str
    code: str = ""


@dataclass
class Asked:
    """One request that came."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    parts: tuple[str, ...] = ()
    """What stood in the places of {...}, decoded."""


class Stream:
    """Server-sent events: those given, and then those sent to it, until it is ended."""

    def __init__(self, *events: tuple[str, Any], ends: bool = False) -> None:
        self._first = events
        self._ends = ends
        self._readers: set[asyncio.Queue[bytes | Exception | None]] = set()

    @property
    def num_readers(self) -> int:
        return len(self._readers)

    def send(self, name: str, data: Any) -> None:
        self._first = (
            *((n, d) for n, d in self._first if n != name),
            (name, data),
        )  # Newcomers get the latest at once.
        for queue in self._readers:
            queue.put_nowait(frame(name, data))

    def end(self) -> None:
        """In order."""
        for queue in self._readers:
            queue.put_nowait(None)

    def cut(self) -> None:
        for queue in self._readers:
            queue.put_nowait(httpx2.ReadError("cut"))

    async def read(self) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._readers.add(queue)
        try:
            yield b": ping\n\n"
            for name, data in self._first:
                yield frame(name, data)
            while not self._ends:
                item = await queue.get()
                if item is None:
                    return
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self._readers.discard(queue)


def frame(name: str, data: Any) -> bytes:
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


class _Body(httpx2.AsyncByteStream):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream.read():
            yield chunk


Handler = Callable[[Asked], Any]


@dataclass
class FakeServer(httpx2.AsyncBaseTransport):
    key: str = ADMIN_KEY
    is_up: bool = True
    has_admin_api: bool = True
    asked: list[Asked] = field(default_factory=list)
    _routes: list[tuple[str, re.Pattern[str], Handler]] = field(default_factory=list)
    _streams: dict[str, Stream] = field(default_factory=dict)

    def on(self, method: str, path: str, handler: Handler | Any) -> None:
        """path: with {} where anything but a slash may stand. handler: of the request, or the answer itself. Later ones
        come first."""
        pattern = re.compile(re.escape(path).replace(r"\{\}", "([^/]+)"))
        self._routes.insert(0, (method, pattern, handler if callable(handler) else lambda asked: handler))

    def stream(self, method: str, path: str, *events: tuple[str, Any], ends: bool = False) -> Stream:
        """Answers with ?follow=true, and paths that are asked for without it where nothing else answers."""
        self._streams[path] = Stream(*events, ends=ends)
        return self._streams[path]

    def feed(self, path: str) -> Stream:
        return self._streams[path]

    def go_down(self) -> None:
        self.is_up = False
        for stream in self._streams.values():
            stream.cut()

    def requests(self, method: str, path: str) -> list[Asked]:
        return [asked for asked in self.asked if (asked.method, asked.path) == (method, path)]

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if not self.is_up:
            raise httpx2.ConnectError("refused", request=request)
        url = request.url
        body = await request.aread()
        is_json = request.headers.get("Content-Type", "application/json") == "application/json"
        given = (json.loads(body) if is_json else body) if body else None
        asked = Asked(request.method, url.path, dict(url.params), given)
        self.asked.append(asked)
        if url.path != "/health" and request.headers.get("Authorization") != f"Bearer {self.key}":
            return answer(Refusal(401, "Invalid API key.", "invalid_api_key"))
        if url.path.startswith("/admin") and not self.has_admin_api:
            return answer(Refusal(404, "Not found."))
        return answer(self._find(asked, url.raw_path.decode().partition("?")[0]))

    def _find(self, asked: Asked, raw_path: str) -> Any:
        stream = self._streams.get(asked.path)
        if stream is not None and asked.query.get("follow") == "true":
            return stream
        for method, pattern, handler in self._routes:
            if method == asked.method and (match := pattern.fullmatch(raw_path)):
                asked.parts = tuple(httpx2.URL(f"http://x/{part}").path[1:] for part in match.groups())
                return handler(asked)
        return stream if stream is not None else Refusal(404, f"No route {asked.method} {asked.path}.")


def answer(result: Any) -> httpx2.Response:
    if isinstance(result, Refusal):
        error = {"message": result.message, "type": "invalid_request_error", "param": None, "code": result.code}
        return httpx2.Response(result.status, json={"error": error})
    if isinstance(result, Stream):
        return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, stream=_Body(result))
    content = msgspec.json.encode(result)
    return httpx2.Response(200, content=content, headers={"Content-Type": "application/json"})
