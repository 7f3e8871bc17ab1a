"""Requests about what the server is doing."""

from __future__ import annotations

from collections.abc import AsyncIterator

from llmos_tui.client import Client, Params, in_path
from llmos_tui.wire.common import Anything
from llmos_tui.wire.live import Aborted, InFlight, InFlightList, Overview, PageMap


async def check_health(client: Client) -> None:
    """Is there a server? Needs no key."""
    await client.get("/health", Anything)


async def get_overview(client: Client) -> Overview:
    return await client.get("/admin/v1/overview", Overview)


async def follow_overview(client: Client, interval: float) -> AsyncIterator[Overview]:
    """One at once and then one each interval, in seconds."""
    async for event in client.events("GET", "/admin/v1/live", params={"interval": interval}):
        if event.name == "overview":
            yield event.decode(Overview)


async def follow_requests(client: Client, interval: float) -> AsyncIterator[InFlightList]:
    """The whole list each time."""
    params: Params = {"follow": True, "interval": interval}
    async for event in client.events("GET", "/admin/v1/requests", params=params):
        if event.name == "requests":
            yield event.decode(InFlightList)


async def get_request(client: Client, id: str) -> InFlight:
    return await client.get(f"/admin/v1/requests/{in_path(id)}", InFlight)


async def abort_request(client: Client, id: str) -> Aborted:
    return await client.send("DELETE", f"/admin/v1/requests/{in_path(id)}", Aborted)


async def follow_pages(client: Client, model: str, interval: float) -> AsyncIterator[PageMap]:
    """The page map of a decoder; each one costs its worker a message."""
    params: Params = {"model": model, "follow": True, "interval": interval}
    async for event in client.events("GET", "/admin/v1/models/pages", params=params):
        if event.name == "pages":
            yield event.decode(PageMap)
