"""Keeps one engine worker alive: starts it, watches it, starts it again with back-off, ends it."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import zmq.asyncio

from llmos_server.backoff import Backoff
from llmos_server.contracts import EngineState
from llmos_server.engine.connection import Connection, Endpoints
from llmos_server.engine.launcher import Launcher, WorkerProcess
from llmos_server.engine.life_signs import LifeSigns, Limits
from llmos_server.engine.messages import Heartbeat, Info, LoadFailed, ProcessConfig, Ready
from llmos_server.engine.socket_folder import socket_folder
from llmos_server.errors import EngineBusy, EngineFailed

SHUTDOWN_SECONDS = 5.0
"""How long a worker may take to end its step after Shutdown, before it is killed."""
LAST_WORDS_SECONDS = 0.2
"""How long the reports of a worker that has exited are still read: it may have finished a stream."""
MAX_FIRST_STARTS = 5
"""A worker that has never been ready and ends so often has failed: something is wrong that time doesn't mend."""

log = logging.getLogger("llmos.engine")

Output = TypeVar("Output")
"""What this kind of worker reports of its work."""


class Supervisor(Generic[Info, Output]):
    """Everything runs on the event loop that called start().

    name: the model's, for messages. configure(epoch, endpoints): the worker's configuration. reports: the union of all
    that this kind of worker reports; on_report gets what this class doesn't deal with itself. on_loss(reason,
    retry_after): the worker and all that it was doing are gone; seconds until another may be ready.
    """

    def __init__(
        self,
        name: str,
        configure: Callable[[int, Endpoints], ProcessConfig],
        launcher: Launcher,
        *,
        reports: Any,
        limits: Limits,
        backoff: Backoff,
        on_report: Callable[[Output], None],
        on_loss: Callable[[str, float], None],
    ) -> None:
        self.state: EngineState = "loading"
        self.info: Info | None = None
        self.epoch = 0
        self.connection: Connection | None = None
        """While a worker is being started or alive."""
        self.num_restarts = 0
        self.pid: int | None = None
        """The process's, while one runs."""
        self._name = name
        self._configure = configure
        self._launcher = launcher
        self._reports = reports
        self._limits = limits
        self._backoff = backoff
        self._on_report = on_report
        self._on_loss = on_loss
        self._state_changed = asyncio.Event()
        self._failure = ""
        self._start_seconds = 0.0
        """From the start of a process to its being ready, the last time."""
        self._started_at = 0.0
        self._ready_expected = 0.0
        self._ready_at: float | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def load_failure(self) -> str:
        """Why the state is "failed"; "" in another state."""
        if self.state != "failed":
            return ""
        return f"{self._name} could not be loaded: {self._failure}. The server's log tells more."

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"supervisor of {self._name}")

    def refuse(self) -> None:
        """From now on nothing is taken; what runs goes on."""
        self._set_state("stopped")

    async def stop(self) -> None:
        """End the worker: asked when it is able to listen, killed otherwise."""
        self.refuse()
        if self._task is None:
            return
        if self._ready_at is not None and self.connection is not None:
            self.connection.shut_down()
            await asyncio.wait({self._task}, timeout=SHUTDOWN_SECONDS)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def wait_ready(self, timeout: float | None) -> Info:
        try:
            async with asyncio.timeout(timeout):
                while self.state == "loading":
                    await self._state_changed.wait()
        except TimeoutError:
            raise EngineBusy(f"{self._name} is still loading; try again in a moment.", retry_after=5.0) from None
        self.require_ready()
        assert self.info is not None  # It came with the report that made the state "ready".
        return self.info

    def require_ready(self) -> Connection:
        """The way to a worker that is ready. Raises EngineFailed or EngineBusy when there is none."""
        if self.state == "failed":
            raise EngineFailed(self.load_failure)
        if self.state == "stopped":
            raise EngineBusy("The server is shutting down; try again in a moment.", retry_after=5.0)
        if self.state != "ready" or self.connection is None:
            retry_after = max(1.0, self._ready_expected - _now())
            raise EngineBusy(f"{self._name} is {self.state}; try again in a moment.", retry_after=retry_after)
        return self.connection

    async def _run(self) -> None:
        with socket_folder() as folder:
            context = zmq.asyncio.Context()
            try:
                while await self._survives(await self._live(context, folder)):
                    self.num_restarts += 1
            finally:
                self.connection = None
                context.destroy(linger=0)

    async def _survives(self, reason: str) -> bool:
        """After a worker's end: tell it, and wait until another may be started. False: none may."""
        healthy_seconds = None if self._ready_at is None else _now() - self._ready_at
        self._ready_at = None
        if self.state not in ("failed", "stopped"):
            if self.info is None and self.epoch >= MAX_FIRST_STARTS:
                self._fail(f"its engine worker ended {self.epoch} times before it was ready ({reason})")
            else:
                self._set_state("restarting")
        delay = self._backoff.delay_after(healthy_seconds)
        self._ready_expected = _now() + delay + self._start_seconds
        self._on_loss(reason, delay + self._start_seconds)
        if self.state != "restarting":
            return False
        log.error("The engine worker of %s ended (%s); starting again in %.1f s.", self._name, reason, delay)
        await asyncio.sleep(delay)
        return True

    def _fail(self, reason: str) -> None:
        self._failure = reason
        log.error("%s could not be loaded: %s.", self._name, reason)
        self._set_state("failed")

    async def _live(self, context: zmq.asyncio.Context, folder: Path) -> str:
        """One life of the worker, from its start to its end; returns why it ended."""
        self.epoch += 1
        endpoints = Endpoints(folder, self.epoch)
        self.connection = connection = Connection(context, endpoints, self.epoch, self._reports)
        process: WorkerProcess | None = None
        self._started_at = _now()
        try:
            process = await self._launcher.launch(self._configure(self.epoch, endpoints))
            self.pid = process.pid
            return await self._watch(process, connection)
        except OSError as error:
            return f"it can't be started: {error}"
        except Exception as error:
            log.exception("The reports of the engine worker of %s could not be handled.", self._name)
            return f"{type(error).__name__}: {error}"
        finally:
            self.connection = None
            if process is not None:
                process.kill()
                await process.wait()
                self.pid = None
            connection.close()

    async def _watch(self, process: WorkerProcess, connection: Connection) -> str:
        signs = LifeSigns(self._limits)
        reader = asyncio.create_task(self._read(connection, signs))
        exit_status = asyncio.create_task(process.wait())
        fault = asyncio.create_task(signs.wait_for_fault())
        tasks = (reader, exit_status, fault)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if exit_status.done():
                await asyncio.wait((reader,), timeout=LAST_WORDS_SECONDS)
            if reader.done():
                return reader.result()
            if exit_status.done():
                return _describe_exit(exit_status.result())
            if self.info is None and self.state != "stopped":
                self._fail(fault.result())  # It took its whole time once; others wait for its memory.
            return fault.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _read(self, connection: Connection, signs: LifeSigns) -> str:
        """The one reader. Returns only when the model can't be loaded."""
        while True:
            report = await connection.receive()
            signs.note(report)
            match report:
                case Heartbeat():
                    pass
                case Ready():
                    self.info = report.info
                    self._ready_at = _now()
                    self._start_seconds = self._ready_at - self._started_at
                    log.info("%s is loaded (%.1f s).", self._name, report.info.load_seconds)
                    if self.state != "stopped":
                        self._set_state("ready")
                case LoadFailed():
                    if self.state != "stopped":
                        self._fail(report.message.rstrip("."))
                    return report.message
                case _:
                    self._on_report(cast(Output, report))

    def _set_state(self, state: EngineState) -> None:
        self.state = state
        self._state_changed.set()
        self._state_changed = asyncio.Event()


def _describe_exit(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    return f"killed by {name}, perhaps for want of memory" if name == "SIGKILL" else f"killed by {name}"


def _now() -> float:
    return asyncio.get_running_loop().time()
