"""What administrators watch, by name: a sampler for each thing, and a bound for those who watch."""

from __future__ import annotations

import msgspec

from llmos_server.api.errors import QueueFull
from llmos_server.api.live.overview import OverviewMaker
from llmos_server.api.live.sampling import Sampler

MAX_WATCHERS = 100


class Live:
    """One per app."""

    def __init__(self, overviews: OverviewMaker) -> None:
        self.overviews = overviews
        self.overview = Sampler(self._take_overview)
        self._num_watchers = 0

    def enter(self) -> None:
        """One more stream; leave() when it ends. Raises QueueFull."""
        if self._num_watchers >= MAX_WATCHERS:
            raise QueueFull(f"{MAX_WATCHERS} streams of live figures are open already; close one of them.")
        self._num_watchers += 1

    def leave(self) -> None:
        self._num_watchers -= 1

    async def _take_overview(self) -> bytes:
        return msgspec.json.encode(self.overviews.make())
