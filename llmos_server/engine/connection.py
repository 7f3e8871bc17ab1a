"""The API process's end of one worker's life: a socket pair and the epoch that every message carries."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol

import msgspec
import zmq
import zmq.asyncio

from llmos_server.engine.messages import Shutdown


class Message(Protocol):
    """Whatever crosses: a command, or a report."""

    @property
    def epoch(self) -> int: ...


class Endpoints:
    """The two ipc:// addresses of one epoch, in a folder that only this user can enter."""

    def __init__(self, folder: Path, epoch: int) -> None:
        self.paths = (folder / f"c{epoch}", folder / f"r{epoch}")
        self.commands, self.reports = (f"ipc://{path}" for path in self.paths)


class Connection:
    """Bound before the worker starts, so that it finds both addresses. Queues are unbounded; admission is bounded.

    reports: the union of what this kind of worker reports.
    """

    def __init__(self, context: zmq.asyncio.Context, endpoints: Endpoints, epoch: int, reports: Any) -> None:
        self.epoch = epoch
        self._endpoints = endpoints
        self._commands = context.socket(zmq.PUSH)
        self._reports = context.socket(zmq.PULL)
        for socket, address in ((self._commands, endpoints.commands), (self._reports, endpoints.reports)):
            socket.set_hwm(0)
            socket.setsockopt(zmq.LINGER, 0)
            socket.bind(address)
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
            report: Message = self._decoder.decode(await self._reports.recv())
            if report.epoch == self.epoch:
                return report

    def close(self) -> None:
        self._commands.close()
        self._reports.close()
        for path in self._endpoints.paths:  # ZeroMQ leaves them.
            path.unlink(missing_ok=True)


def _forget_outcome(sent: asyncio.Future[Any]) -> None:
    """The socket was closed while the command waited: the worker's end is reported elsewhere."""
    if not sent.cancelled():
        sent.exception()
