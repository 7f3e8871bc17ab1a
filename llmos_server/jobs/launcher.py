"""Starting jobs' processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from llmos_server.cores import thread_environment
from llmos_server.jobs.process_config import STOP_LINE, ProcessConfig

PROCESS_ARGV = (sys.executable, "-P", "-m", "llmos_server.job_process")
"""-P: a queue.py in the folder where the server was started must not shadow Python's own."""


class JobProcess(Protocol):
    """A started process. It ends by itself, with those that it started, when this object's owner dies."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> int:
        """Exit status, negative for a signal. Nothing that it has started is left then."""
        ...

    def stop(self) -> None:
        """It is to end soon. Safe to call after the end."""
        ...

    def kill(self) -> None:
        """It, and what it has started. Safe to call after the end."""
        ...


class JobLauncher(Protocol):
    async def launch(self, config: ProcessConfig, log: Path, threads: int) -> JobProcess:
        """Start a fresh interpreter; what it prints goes behind what is in the file `log`. Raises OSError."""
        ...


class SubprocessJobs:
    """Processes on this machine, each the leader of a group, so that it is ended with all that it has started."""

    def __init__(self, argv: Sequence[str] = PROCESS_ARGV) -> None:
        self._argv = argv

    async def launch(self, config: ProcessConfig, log: Path, threads: int) -> JobProcess:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=out,
                stderr=out,
                env={**os.environ, **thread_environment(threads)},
                start_new_session=True,  # Of the ways to lead a group, the one that uvloop knows.
            )
        finally:
            os.close(out)
        started = _Subprocess(process)
        started.tell(msgspec.json.encode(config) + b"\n")
        return started


class _Subprocess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        status = await self._process.wait()
        self._end_group()
        return status

    def stop(self) -> None:
        self.tell(STOP_LINE)

    def kill(self) -> None:
        if self._process.returncode is None:
            self._end_group()

    def tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(ConnectionError, RuntimeError):  # It has died already; wait() tells.
            self._process.stdin.write(line)

    def _end_group(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
