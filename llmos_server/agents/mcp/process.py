"""An MCP server that is started here: a program with a bare environment, in a process group of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from llmos_server.agents.mcp.declared import Declared
from llmos_server.agents.mcp.failures import McpFailed, clip

HOLDER = Path(__file__).parent / "holder.py"
CLOSING_SECONDS = 1.0
"""After its stdin was closed, before it is asked to end by a signal."""
GRACE_SECONDS = 1.0
"""After that signal, before it is killed."""
POLL_SECONDS = 0.02
LAST_WORDS = 2000
"""Bytes of stderr that are kept."""


class HeldProcess:
    """Made by `started`. stdout is read by whoever speaks with it, stderr here."""

    def __init__(self, process: Process, hold: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin = process.stdin
        self.stdout = process.stdout
        self._process = process
        self._hold: int | None = hold
        self._words = b""
        self._listening = asyncio.create_task(self._listen())

    @property
    def pid(self) -> int:
        """The holder's."""
        return self._process.pid

    async def how_it_ended(self) -> str:
        """Waits a moment for the end: it may have closed its stdout only."""
        await self._wait(CLOSING_SECONDS)
        await asyncio.wait({self._listening}, timeout=POLL_SECONDS)
        status = self._process.returncode
        if status is None:
            return "closed its stdout"
        if status > 128:
            return f"was ended by signal {status - 128}"
        return f"ended with exit status {status}"

    @property
    def last_words(self) -> str:
        """What it has told on stderr last. After its first call that may hold a conversation's text: for nobody."""
        return clip(self._words.decode("utf-8", "replace"))

    async def end(self) -> None:
        """Its stdin is closed, then it gets SIGTERM, then SIGKILL, and so does all that it has started."""
        try:
            self.stdin.close()
            await self._wait(CLOSING_SECONDS)
            self.release()
            await self._wait(2 * GRACE_SECONDS + CLOSING_SECONDS)
        finally:
            self.release()
            self._listening.cancel()
            # What has left the process group may hold the pipes open; nothing public closes our ends of them.
            if (transport := getattr(self._process, "_transport", None)) is not None:
                transport.close()

    def release(self) -> None:
        """The holder sees to the rest, without this process."""
        if self._hold is not None:
            os.close(self._hold)
            self._hold = None

    async def _wait(self, seconds: float) -> None:
        """Not by its wait(), which goes on while somebody holds the pipes open."""
        end = time.monotonic() + seconds
        while self._process.returncode is None and time.monotonic() < end:
            await asyncio.sleep(POLL_SECONDS)

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(4096):
            self._words = (self._words + chunk)[-LAST_WORDS:]


@asynccontextmanager
async def started(declared: Declared, max_line_bytes: int) -> AsyncIterator[HeldProcess]:
    """Ended with everything that it has started when this is left, and when this process dies."""
    settings = declared.settings
    ours, theirs = None, None
    try:
        theirs, ours = os.pipe()
        command = (sys.executable, "-I", "-S", str(HOLDER), str(theirs), str(GRACE_SECONDS))
        process = await asyncio.create_subprocess_exec(
            *command,
            settings.command,
            *settings.args,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=dict(declared.env),
            cwd=settings.cwd or None,
            pass_fds=(theirs,),
            limit=max_line_bytes,
            start_new_session=True,
        )
    except OSError as error:
        if ours is not None:
            os.close(ours)
        raise McpFailed(f"can't be started ({error.strerror or error})") from None
    finally:
        if theirs is not None:
            os.close(theirs)
    held = HeldProcess(process, ours)
    try:
        yield held
    finally:
        try:
            with anyio.CancelScope(shield=True):
                await held.end()
        finally:
            held.release()
