"""The connection to one MCP server: made, watched, made again with back-off, ended."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import anyio
import structlog

from llmos_server.agents.mcp.declared import Declared
from llmos_server.agents.mcp.failures import McpFailed
from llmos_server.agents.mcp.http import BoundedTransport
from llmos_server.agents.mcp.listing import Listing, read_in_thread
from llmos_server.backoff import Backoff

if TYPE_CHECKING:
    from llmos_server.agents.mcp.connection import Connection

State = Literal["off", "starting", "ready", "closing", "waiting", "stopped"]
"""waiting: until it is tried again."""
ON_THE_WAY = ("starting", "closing")
"""States that are over in a bounded time."""
_WORDS = {"off": "is switched off", "waiting": "is down", "stopped": "is stopped"}

CLOSING_SECONDS = 3.0
"""For the protocol's own farewell; the process of a server that is started here has its own time after that."""
REFRESH_SECONDS = 1.0
"""Not more often is a list of tools read again, however often the server says that it has changed."""

log = structlog.get_logger(__name__)


def create_backoff() -> Backoff:
    return Backoff(first=1.0, maximum=60.0, maximum_after_ready=60.0)


class KeptConnection:
    """Belongs to the event loop that called start()."""

    def __init__(self, declared: Declared, create_transport: Callable[[], BoundedTransport]) -> None:
        """create_transport: for a server that is reached by HTTP."""
        self.declared = declared
        self.state: State = "stopped" if declared.settings.enabled else "off"
        self.listing = Listing()
        """What it offered when it was ready last."""
        self.last_error = ""
        """How the last connection has ended."""
        self.num_restarts = 0
        self.connection: Connection | None = None
        """While it is ready."""
        self._create_transport = create_transport
        self._backoff = create_backoff()
        self._scope: anyio.CancelScope | None = None
        self._state_changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Returns at once."""
        if self.state != "off":
            self._become("starting")
            self._task = asyncio.create_task(self._run(), name=f"MCP server {self.declared.name}")

    async def stop(self) -> None:
        """Nothing of it is left when this returns."""
        self._stopping.set()
        if self._task is None:
            return
        if self.connection is not None:
            self.connection.end("is being stopped")
            await asyncio.wait({self._task}, timeout=CLOSING_SECONDS)
        if self._scope is not None:
            self._scope.cancel()
        await asyncio.wait({self._task}, timeout=2 * CLOSING_SECONDS)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def wait_ready(self, seconds: float) -> None:
        """While it starts. Raises McpFailed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.state in ON_THE_WAY:
                    await self._state_changed.wait()
        if self.state != "ready":
            why = f": it {self.last_error}" if self.last_error else ""
            raise McpFailed(f"{_WORDS.get(self.state, 'is not ready yet')}{why}")

    async def _run(self) -> None:
        sdk = await asyncio.to_thread(importlib.import_module, "llmos_server.agents.mcp.connection")
        while not self._stopping.is_set():
            self._become("starting")
            healthy_seconds = await self._live(sdk)
            if self._stopping.is_set():
                break
            delay = self._backoff.delay_after(healthy_seconds)
            if delay:
                self._become("waiting")
            log.warning("MCP server ended", server=self.declared.name, reason=self.last_error, again_in=round(delay, 1))
            try:
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
            except TimeoutError:
                self.num_restarts += 1
        self._become("stopped")

    async def _live(self, sdk: Any) -> float | None:
        """One connection, from its start to its end. For how long it was ready; None if never."""
        connection: Connection = sdk.Connection(on_end=self._lose)
        seconds = self.declared.settings.start_seconds
        ready_at: float | None = None
        # One scope around everything: its deadline is the start's, none, and the end's, one after the other.
        with anyio.CancelScope(deadline=anyio.current_time() + seconds) as self._scope:
            try:
                async with sdk.connect(connection, self.declared, self._create_transport):
                    try:
                        listing = await read_in_thread(self.declared, await connection.list_tools())
                        ready_at = time.monotonic()
                        self._scope.deadline = math.inf
                        self._become_ready(connection, listing)
                        await self._until_end(sdk, connection)
                    finally:
                        self._lose()
                        self._scope.deadline = anyio.current_time() + CLOSING_SECONDS
            except Exception as error:
                connection.end(connection.describe(error))
        if not connection.ended.is_set():
            connection.end(f"did not start within {seconds:g} s (its setting start_seconds)")
        self._note_end(connection, was_ready=ready_at is not None)
        return None if ready_at is None else time.monotonic() - ready_at

    def _become_ready(self, connection: Connection, listing: Listing) -> None:
        self.connection, self.listing = connection, listing
        self._become("ready")
        log.info(
            "MCP server ready",
            server=self.declared.name,
            num_tools=len(listing.offered),
            num_refused=len(listing.refused),
        )

    def _lose(self) -> None:
        self.connection = None
        if self.state == "ready":
            self._become("closing")

    def _become(self, state: State) -> None:
        self.state = state
        self._state_changed.set()
        self._state_changed = asyncio.Event()

    async def _until_end(self, sdk: Any, connection: Connection) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(sdk.watch_tools, connection)
            group.start_soon(self._refresh, connection)
            await connection.ended.wait()
            group.cancel_scope.cancel()

    async def _refresh(self, connection: Connection) -> None:
        while True:
            await connection.changed.wait()
            connection.changed.clear()
            try:
                async with asyncio.timeout(self.declared.settings.start_seconds):
                    self.listing = await read_in_thread(self.declared, await connection.list_tools())
            except Exception as error:
                connection.end(f"can't list its tools any more: it {connection.describe(error)}")
                return
            await asyncio.sleep(REFRESH_SECONDS)

    def _note_end(self, connection: Connection, *, was_ready: bool) -> None:
        words = "" if was_ready or connection.process is None else connection.process.last_words
        reason = connection.reason + (f"; its last words: {words}" if words else "")
        self.last_error = self.declared.without_secrets(reason)
