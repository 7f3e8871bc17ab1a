"""The web server as a process: signals, and as many open files as clients need."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from litestar.types import ASGIApp

from llmos_server.api.http.connections import BoundedProtocol
from llmos_server.settings import ApiSettings

WANTED_FILES = 65_536
"""Each client is an open file; the usual soft limit of 1024 would refuse the thousandth."""


class WebServer(uvicorn.Server):
    """The first SIGTERM or SIGINT lets what runs finish, within the grace time; a second one of either ends at once."""

    def __init__(self, config: uvicorn.Config, before_shutdown: Callable[[], None] = lambda: None) -> None:
        """before_shutdown: while connections are still open, and waited for."""
        super().__init__(config)
        self._before_shutdown = before_shutdown

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._before_shutdown()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)


def create_config(app: ASGIApp, settings: ApiSettings) -> uvicorn.Config:
    """Without WebSockets: there is no such endpoint, and uvicorn's handshake would not pass the bounds of our own
    protocol."""
    return uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=int(settings.grace_seconds) + 5,  # After the streams' own last words.
        timeout_keep_alive=60,
    )


def raise_file_limit() -> None:
    """As far as the hard limit lets this process go by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # Some systems have yet another limit.
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
