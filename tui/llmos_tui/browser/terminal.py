"""One terminal in a browser: a process, and what goes between it and a websocket."""

from __future__ import annotations

import asyncio
import contextlib

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.download_manager import DownloadManager

QUIT_SECONDS = 5.0
SIZES = {"width": (80, 20, 500), "height": (24, 5, 300)}
"""Cells: without a word from the browser, at least, at most."""


class Terminal(AppService):
    """Ends with its websocket, whether its process wants to or not."""

    def __init__(self, command: str, websocket: web.WebSocketResponse, downloads: DownloadManager) -> None:
        super().__init__(
            command,
            write_bytes=websocket.send_bytes,
            write_str=websocket.send_str,
            close=self._close_websocket,
            download_manager=downloads,
        )
        self._websocket = websocket

    async def _close_websocket(self) -> None:
        await self._websocket.close()

    async def stop(self) -> None:
        """Asks it to quit, then makes it."""
        process, task = self._process, self._task
        self._task = None
        if process is None:
            return
        await self._download_manager.cancel_app_downloads(app_service_id=self.app_service_id)
        await self.send_meta({"type": "quit"})
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(QUIT_SECONDS):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if task is not None:
            await task


def size_of(request: web.Request, name: str) -> int:
    default, least, most = SIZES[name]
    try:
        return max(least, min(most, int(request.query.get(name, default))))
    except ValueError:
        return default
