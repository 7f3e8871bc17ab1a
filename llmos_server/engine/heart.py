"""The worker's heartbeat: that it lives, and for how long it has been at its present step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Protocol

import msgspec

from llmos_server.engine.messages import Heartbeat


class Socket(Protocol):
    def send(self, data: bytes) -> object: ...

    def close(self) -> object: ...


class Heart:
    """A thread and a socket of its own, so that neither a long step nor a long load looks like death.

    A step is timed in beats, not by a clock: when the whole machine, or every process of the server, stands still for a
    while, that is not held against the step. connect: called in the thread, for a ZeroMQ socket belongs to one.
    """

    def __init__(self, epoch: int, seconds: float, connect: Callable[[], Socket]) -> None:
        self._epoch = epoch
        self._seconds = seconds
        self._connect = connect
        self._step: object | None = None
        """Another one for every step."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when its socket is closed."""
        self._over.set()
        self._thread.join()

    @contextmanager
    def step(self) -> Iterator[None]:
        self._step = object()
        try:
            yield
        finally:
            self._step = None

    def _beat(self) -> None:
        timed, num_beats = None, 0
        with closing(self._connect()) as socket:
            while not self._over.wait(self._seconds):
                present = self._step
                num_beats = num_beats + 1 if present is not None and present is timed else 0
                timed = present
                beat = Heartbeat(epoch=self._epoch, step_seconds=num_beats * self._seconds)
                socket.send(msgspec.msgpack.encode(beat))
