"""What administrators watch, by name: a sampler for each thing."""

from __future__ import annotations

import functools

import msgspec

from llmos_server.api.flights import Flights
from llmos_server.api.live.overview import OverviewMaker
from llmos_server.api.live.pages import map_pages
from llmos_server.api.live.requests import list_flights
from llmos_server.api.live.sampling import Sampler
from llmos_server.api.served import Directory


class Live:
    """One per app."""

    def __init__(self, directory: Directory, overviews: OverviewMaker, flights: Flights) -> None:
        self._directory = directory
        self.overviews = overviews
        self.overview = Sampler(self._take_overview)
        self.requests = Sampler(self._take_requests)
        self._flights = flights
        self._pages: dict[str, Sampler] = {}

    def pages(self, model: str) -> Sampler:
        """model: the id of a decoder that is here."""
        if model not in self._pages:
            self._pages[model] = Sampler(functools.partial(self._take_pages, model))
        return self._pages[model]

    async def _take_pages(self, model: str) -> bytes:
        return msgspec.json.encode(await map_pages(self._directory, model))

    async def _take_requests(self) -> bytes:
        return msgspec.json.encode(list_flights(self._flights))

    async def _take_overview(self) -> bytes:
        return msgspec.json.encode(self.overviews.make())
