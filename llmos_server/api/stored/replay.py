"""The events of a response that has ended, told again as its stream told them, from what was kept of them."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator

from llmos_server.api.http.event_stream import encode, named_frame
from llmos_server.api.responding.shown import ending_event
from llmos_server.store.responses import Recorded

_END = b"\n\n"
_AT_ONCE = 256
"""Events in one write."""


async def replay(recorded: Recorded, starting_after: int) -> AsyncGenerator[bytes, None]:
    """The events after the one with this sequence number; -1: all."""
    unpacked = await asyncio.to_thread(zlib.decompress, recorded.events)
    frames = [frame + _END for frame in unpacked.split(_END)[:-1]]
    kind = ending_event(recorded.response["status"])
    last = {"type": kind, "sequence_number": len(frames), "response": recorded.response}
    frames.append(named_frame(kind, encode(last)))
    for place in range(starting_after + 1, len(frames), _AT_ONCE):
        yield b"".join(frames[place : place + _AT_ONCE])
