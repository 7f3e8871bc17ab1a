"""What every worker process has in common: its configuration, its sockets, its heartbeat, and its end.

It lives as long as its stdin stays open, so no worker outlives the process that started it.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import zmq

from llmos_server.engine.heart import Heart
from llmos_server.engine.messages import LoadFailed, ProcessConfig, Shutdown
from llmos_server.errors import LLMOSError
from llmos_server.garbage import exempt_loaded
from llmos_server.logs import configure_logging

LINGER_MS = 1000
"""How long a worker that ends waits for its last reports to be handed over."""

log = logging.getLogger("llmos.worker")

Loaded = TypeVar("Loaded")


class Command(Protocol):
    @property
    def epoch(self) -> int: ...


Config = TypeVar("Config", bound=ProcessConfig)
AnyCommand = TypeVar("AnyCommand", bound=Command)


def run_process(config_type: type[Config], work: Callable[[Config], None]) -> int:
    """The life of a worker process: read the configuration from stdin, work; returns the exit status."""
    # The API process decides when a worker ends. Ctrl-C and service managers signal the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        config = msgspec.json.decode(stdin.readline(), type=config_type)
    configure_logging(config.log)
    threading.Thread(target=_exit_at_eof, name="parent-watch", daemon=True).start()
    try:
        work(config)
    except Exception:
        log.exception("The engine worker failed; it will be started again.")
        return 1
    return 0


class Link(Generic[AnyCommand]):
    """The worker's sockets, and its heartbeat while the context is open. Commands of another epoch are dropped.

    commands: the union of what this kind of worker is told.
    """

    def __init__(self, config: ProcessConfig, commands: Any) -> None:
        self.epoch = config.epoch
        self._context = zmq.Context()
        self._decoder = msgspec.msgpack.Decoder(commands)
        self._commands = self._context.socket(zmq.PULL)
        self._commands.set_hwm(0)
        self._commands.connect(config.commands_endpoint)
        self._reports = _connect_reports(self._context, config)
        self._heart = Heart(config.epoch, config.heartbeat_seconds, lambda: _connect_reports(self._context, config))

    def __enter__(self) -> Link[AnyCommand]:
        self._heart.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._heart.stop()
        self._commands.close()
        self._reports.close()
        self._context.term()

    def step(self) -> AbstractContextManager[None]:
        """Around each step, so that the API process learns of one that hangs."""
        return self._heart.step()

    def has_command_within(self, milliseconds: int) -> bool:
        return bool(self._commands.poll(milliseconds))

    def receive(self, *, block: bool) -> Iterator[AnyCommand]:
        """All commands that have arrived; with block, at least one."""
        while self._commands.poll(timeout=None if block else 0):
            command: AnyCommand = self._decoder.decode(self._commands.recv())
            if command.epoch == self.epoch:
                yield command
                block = False

    def send(self, report: msgspec.Struct) -> None:
        self._reports.send(msgspec.msgpack.encode(report))

    def load(self, create: Callable[[], Loaded]) -> Loaded | None:
        """None when the model can't be loaded and the API process, told so, has asked the worker to end."""
        try:
            loaded = create()
        except Exception as error:
            is_expected = isinstance(error, LLMOSError)
            reason = str(error) if is_expected else f"{type(error).__name__}: {error}"
            log.error("The model could not be loaded: %s", reason, exc_info=not is_expected)
            self.send(LoadFailed(epoch=self.epoch, message=reason))
        else:
            exempt_loaded()
            return loaded
        while not any(isinstance(command, Shutdown) for command in self.receive(block=True)):
            pass
        return None


def _connect_reports(context: zmq.Context[zmq.Socket[bytes]], config: ProcessConfig) -> zmq.Socket[bytes]:
    reports = context.socket(zmq.PUSH)
    reports.set_hwm(0)  # Bounded admission bounds what can queue up here.
    reports.setsockopt(zmq.LINGER, LINGER_MS)
    reports.connect(config.reports_endpoint)
    return reports


def _exit_at_eof() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)
