"""What administrators watch, by name: a sampler for each thing, and a bound for those who watch."""

from __future__ import annotations

import functools

import msgspec

from llmos_server.api.errors import QueueFull
from llmos_server.api.live.overview import OverviewMaker
from llmos_server.api.live.pages import map_pages
from llmos_server.api.live.sampling import Sampler
from llmos_server.api.served import Directory

MAX_WATCHERS = 100


class Live:
    """One per app."""

    def __init__(self, directory: Directory, overviews: OverviewMaker) -> None:
        self._directory = directory
        self.overviews = overviews
        self.overview = Sampler(self._take_overview)
        self._pages: dict[str, Sampler] = {}
        self._num_watchers = 0

    def enter(self) -> None:
        """One more stream; leave() when it ends. Raises QueueFull."""
        if self._num_watchers >= MAX_WATCHERS:
            raise QueueFull(f"{MAX_WATCHERS} streams of live figures are open already; close one of them.")
        self._num_watchers += 1

    def leave(self) -> None:
        self._num_watchers -= 1

    def pages(self, model: str) -> Sampler:
        """model: the id of a decoder that is here."""
        if model not in self._pages:
            self._pages[model] = Sampler(functools.partial(self._take_pages, model))
        return self._pages[model]

    async def _take_pages(self, model: str) -> bytes:
        return msgspec.json.encode(await map_pages(self._directory, model))

    async def _take_overview(self) -> bytes:
        return msgspec.json.encode(self.overviews.make())
