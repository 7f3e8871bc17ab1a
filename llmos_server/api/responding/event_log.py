"""Events of one response as they come: written by its task, read by whoever follows, from any place."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Sequence
from typing import Any

from llmos_server.api.http.event_stream import encode


class EventLog:
    """keeps: False where nobody will follow; then nothing is encoded. replays: whether events that were read are kept,
    for others to read."""

    def __init__(self, *, keeps: bool, replays: bool = False) -> None:
        self.num_events = 0
        self.is_over = False
        self._keeps = keeps
        self._replays = replays
        self._frames: list[bytes] = []
        self._num_gone = 0
        """Of events before those of _frames."""
        self._wake = asyncio.Event()

    def put(self, type: str, **fields: Any) -> None:
        """One event; its sequence_number is its place."""
        payload = {"type": type, "sequence_number": self.num_events, **fields}
        self.num_events += 1
        if self._keeps:
            self._frames.append(b"event: " + type.encode() + b"\ndata: " + encode(payload) + b"\n\n")
            self._rouse()

    def end(self) -> None:
        self.is_over = True
        self._rouse()

    async def wait(self, place: int) -> None:
        """Until there is an event at `place`, or the end."""
        while self._num_gone + len(self._frames) <= place and not self.is_over:
            await self._wake.wait()

    def read(self, place: int) -> list[bytes]:
        """All from `place` on."""
        found = self._frames[place - self._num_gone :]
        if not self._replays:
            self._num_gone += len(self._frames)
            self._frames = []
        return found

    def _rouse(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()


def pack(frames: Sequence[bytes]) -> bytes:
    """Events to be kept; see api/stored/replay.py."""
    return zlib.compress(b"".join(frames))
