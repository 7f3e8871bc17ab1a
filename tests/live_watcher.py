"""A watcher of live figures: reads a stream of an app in this process, event by event."""

from __future__ import annotations

import asyncio
import json
from typing import Any

WAIT = 10


class Watcher:
    """Leave the context, and the client leaves."""

    def __init__(self, app: Any, url: str, key: str) -> None:
        """key: what the client sends to be let in."""
        self.status = 0
        self.text = ""
        self.left = asyncio.Event()
        self.ended = asyncio.Event()
        """The server has sent the end of it."""
        self._app = app
        self._url = url
        self._key = key
        self._changed = asyncio.Event()
        self._has_asked = False

    async def __aenter__(self) -> Watcher:
        path, _, query = self._url.partition("?")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "server": None,
            "headers": [(b"host", b"127.0.0.1:8000"), (b"authorization", f"Bearer {self._key}".encode())],
            "client": ("127.0.0.1", 1),
        }  # fmt: skip
        self._task = asyncio.create_task(self._app(scope, self._receive, self._send))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left.set()
        await asyncio.wait_for(self._task, WAIT)

    async def _receive(self) -> dict[str, Any]:
        if self._has_asked:
            await self.left.wait()
            return {"type": "http.disconnect"}
        self._has_asked = True
        return {"type": "http.request"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.ended.set()
        self._changed.set()

    async def events(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        """The first so many."""
        async with asyncio.timeout(WAIT):
            while self.text.count("\n\n") < count and not self._task.done():
                self._changed.clear()
                await self._changed.wait()
        found = []
        for block in self.text.split("\n\n")[:count]:
            name, data = block.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
        return found
