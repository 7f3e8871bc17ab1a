"""Starting engine workers. One interface, so that a later launcher can place them on other machines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Protocol

import msgspec

from llmos_server.cores import thread_environment
from llmos_server.engine.messages import ProcessConfig

WORKER_ARGV = (sys.executable, "-P", "-m", "llmos_server.engine.worker")
"""-P: a queue.py in the folder where the server was started must not shadow Python's own."""


class WorkerProcess(Protocol):
    """A started worker. It ends by itself when this object's owner dies."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> int:
        """Exit status, negative for a signal; returns at once when it has ended before."""
        ...

    def kill(self) -> None:
        """End it now. Safe to call after the end."""
        ...


class Launcher(Protocol):
    async def launch(self, config: ProcessConfig) -> WorkerProcess:
        """Start a fresh interpreter with this configuration. Raises OSError when it can't be started."""
        ...


class SubprocessLauncher:
    """Workers as child processes, each held by a pipe to its stdin; stdout and stderr go to this process's stderr."""

    def __init__(self, argv: Sequence[str] = WORKER_ARGV) -> None:
        self._argv = argv

    async def launch(self, config: ProcessConfig) -> WorkerProcess:
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=2,
            env={**os.environ, **thread_environment(config.threads)},
        )
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(config) + b"\n")
        with contextlib.suppress(ConnectionError):  # It has died already; wait() tells.
            await process.stdin.drain()
        return _Subprocess(process)


class _Subprocess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        return await self._process.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
