"""The engine process: `python -m llmos_server.engine.worker`, its WorkerConfig as one line of JSON on stdin.

It lives as long as its stdin stays open, so no worker outlives the process that started it.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import msgspec
import zmq

from llmos_server.contracts import EngineInfo
from llmos_server.engine.block_manager import BlockManager
from llmos_server.engine.core import EngineCore
from llmos_server.engine.messages import (
    AbortRequest,
    AddRequest,
    Command,
    Heartbeat,
    LoadFailed,
    Ready,
    Report,
    RequestFailed,
    Shutdown,
    StepOutput,
    WorkerConfig,
)
from llmos_server.engine.scheduler import Scheduler
from llmos_server.engine.step import Runner
from llmos_server.errors import InvalidRequest, LLMOSError
from llmos_server.logs import configure_logging

CreateRunner = Callable[[WorkerConfig], tuple[Runner, EngineInfo]]

IDLE_MS = 1000
"""An engine that has had nothing to do for so long checks its page bookkeeping: nobody waits for it then."""
LINGER_MS = 1000
"""How long a worker that ends waits for its last reports to be handed over."""

log = logging.getLogger("llmos.worker")


def main(create_runner: CreateRunner | None = None) -> int:
    """Entry of the process; returns its exit status. create_runner: None loads the model with torch."""
    # The API process decides when a worker ends. Ctrl-C and service managers signal the whole group.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        config = msgspec.json.decode(stdin.readline(), type=WorkerConfig)
    configure_logging(config.log)
    threading.Thread(target=_exit_at_eof, name="parent-watch", daemon=True).start()
    try:
        run_worker(config, create_runner or _create_torch_runner)
    except Exception:
        log.exception("The engine worker failed; it will be started again.")
        return 1
    return 0


def run_worker(config: WorkerConfig, create_runner: CreateRunner) -> None:
    """Load the model, then step until told to shut down. An error in a step is raised: pages can't be trusted then."""
    context = zmq.Context()
    over = threading.Event()
    heart = threading.Thread(target=_beat, args=(context, config, over), name="heartbeat", daemon=True)
    link = _Link(context, config)
    heart.start()
    try:
        core = _load(config, create_runner, link)
        if core is not None:
            _serve(core, link)
    finally:
        over.set()
        heart.join()
        link.close()
        context.term()


class _Link:
    """The worker's two sockets. Commands of another epoch are dropped."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], config: WorkerConfig) -> None:
        self.epoch = config.epoch
        self._decoder = msgspec.msgpack.Decoder(Command)
        self._commands = context.socket(zmq.PULL)
        self._commands.set_hwm(0)
        self._commands.connect(config.commands_endpoint)
        self._reports = _connect_reports(context, config)

    def has_command_within(self, milliseconds: int) -> bool:
        return bool(self._commands.poll(milliseconds))

    def receive(self, *, block: bool) -> Iterator[AddRequest | AbortRequest | Shutdown]:
        """All commands that have arrived; with block, at least one."""
        while self._commands.poll(timeout=None if block else 0):
            command = self._decoder.decode(self._commands.recv())
            if command.epoch == self.epoch:
                yield command
                block = False

    def send(self, report: Report) -> None:
        self._reports.send(msgspec.msgpack.encode(report))

    def close(self) -> None:
        self._commands.close()
        self._reports.close()


def _load(config: WorkerConfig, create_runner: CreateRunner, link: _Link) -> EngineCore | None:
    """None when the model can't be loaded and the API process, told so, has asked the worker to end."""
    try:
        runner, info = create_runner(config)
    except Exception as error:
        is_expected = isinstance(error, LLMOSError)
        reason = str(error) if is_expected else f"{type(error).__name__}: {error}"
        log.error("The model could not be loaded: %s", reason, exc_info=not is_expected)
        link.send(LoadFailed(epoch=link.epoch, message=reason))
        while not any(isinstance(command, Shutdown) for command in link.receive(block=True)):
            pass
        return None
    blocks = BlockManager(
        info.num_pages, info.page_size, model_digest=config.model_digest, prefix_caching=config.prefix_caching
    )
    scheduler = Scheduler(
        blocks, max_num_seqs=config.max_num_seqs, max_num_batched_tokens=config.max_num_batched_tokens
    )
    link.send(Ready(epoch=link.epoch, info=info))
    return EngineCore(scheduler, runner, info)


def _serve(core: EngineCore, link: _Link) -> None:
    while True:
        if not core.has_work and not link.has_command_within(IDLE_MS):
            core.check_integrity()
        for command in link.receive(block=not core.has_work):
            if isinstance(command, Shutdown):
                return
            _apply(command, core, link)
        # Even after the last abort there is a step: its report tells that the pages are free.
        deltas = core.step()
        link.send(StepOutput(epoch=link.epoch, deltas=deltas, stats=core.stats()))


def _apply(command: AddRequest | AbortRequest, core: EngineCore, link: _Link) -> None:
    if isinstance(command, AbortRequest):
        core.abort(command.request_id, command.index)
        return
    try:
        core.add(command.request)
    except InvalidRequest as error:
        link.send(RequestFailed(epoch=link.epoch, request_id=command.request.request_id, message=str(error)))


def _beat(context: zmq.Context[zmq.Socket[bytes]], config: WorkerConfig, over: threading.Event) -> None:
    """A thread and a socket of its own, so that neither a long step nor a long load looks like death."""
    beat = msgspec.msgpack.encode(Heartbeat(epoch=config.epoch))
    with _connect_reports(context, config) as reports:
        while not over.wait(config.heartbeat_seconds):
            reports.send(beat)


def _connect_reports(context: zmq.Context[zmq.Socket[bytes]], config: WorkerConfig) -> zmq.Socket[bytes]:
    reports = context.socket(zmq.PUSH)
    reports.set_hwm(0)  # Bounded admission bounds what can queue up here.
    reports.setsockopt(zmq.LINGER, LINGER_MS)
    reports.connect(config.reports_endpoint)
    return reports


def _exit_at_eof() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def _create_torch_runner(config: WorkerConfig) -> tuple[Runner, EngineInfo]:
    from llmos_server.engine.model_runner import create_runner

    return create_runner(config)


if __name__ == "__main__":
    sys.exit(main())
