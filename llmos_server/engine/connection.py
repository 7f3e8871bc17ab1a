"""The API process's end of one worker's life: a socket pair and the epoch that every message carries."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path
from typing import Any, Protocol

import msgspec
import zmq
import zmq.asyncio

from llmos_server.engine.messages import Shutdown

CAN_READ = int(zmq.POLLIN)


class Message(Protocol):
    """Whatever crosses: a command, or a report."""

    @property
    def epoch(self) -> int: ...


class Endpoints:
    """The two ipc:// addresses of one epoch, in a folder that only this user can enter."""

    def __init__(self, folder: Path, epoch: int) -> None:
        self.paths = (folder / f"c{epoch}", folder / f"r{epoch}")
        self.commands, self.reports = (f"ipc://{path}" for path in self.paths)


class Inbox:
    """What arrives at a bound PULL socket, for one reader.

    zmq.asyncio's sockets take several turns of the event loop, and flags made of Python objects, for each message: a
    tenth of a millisecond a token. Here the loop watches ZeroMQ's descriptor itself. It becomes readable only when
    something has come that was not there at the last look, so each look takes all there is.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self._socket = context.socket(zmq.PULL)
        _bind(self._socket, address)
        self._messages: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._look)
        self._look()

    async def receive(self) -> bytes:
        while not self._messages:
            self._waiter = self._loop.create_future()
            await self._waiter
        return self._messages.popleft()

    def close(self) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _look(self) -> None:
        while int(self._socket.get(zmq.EVENTS)) & CAN_READ:
            self._messages.append(self._socket.recv())
        if self._messages and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection:
    """Bound before the worker starts, so that it finds both addresses. Queues are unbounded; admission is bounded.

    reports: the union of what this kind of worker reports.
    """

    def __init__(self, context: zmq.asyncio.Context, endpoints: Endpoints, epoch: int, reports: Any) -> None:
        self.epoch = epoch
        self._endpoints = endpoints
        self._commands = context.socket(zmq.PUSH)
        _bind(self._commands, endpoints.commands)
        self._inbox = Inbox(zmq.Context(context), endpoints.reports)
        self._decoder = msgspec.msgpack.Decoder(reports)

    def send(self, command: Message) -> None:
        """Returns at once and keeps the order. What a dead worker has not read is lost with it."""
        sent = asyncio.ensure_future(self._commands.send(msgspec.msgpack.encode(command)))
        sent.add_done_callback(_forget_outcome)

    def shut_down(self) -> None:
        self.send(Shutdown(epoch=self.epoch))

    async def receive(self) -> Message:
        """The next report of this epoch; late ones of another are dropped."""
        while True:
            report: Message = self._decoder.decode(await self._inbox.receive())
            if report.epoch == self.epoch:
                return report

    def close(self) -> None:
        self._commands.close()
        self._inbox.close()
        for path in self._endpoints.paths:  # ZeroMQ leaves them.
            path.unlink(missing_ok=True)


def _bind(socket: zmq.Socket[bytes] | zmq.asyncio.Socket, address: str) -> None:
    socket.set_hwm(0)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(address)


def _forget_outcome(sent: asyncio.Future[Any]) -> None:
    """The socket was closed while the command waited: the worker's end is reported elsewhere."""
    if not sent.cancelled():
        sent.exception()
