"""Requests about the server's log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from llmos_tui.client import Client
from llmos_tui.wire.logs import LogGap, LogLine, LogPage

PAGE = 1000
"""Lines; the server's own limit."""


@dataclass(frozen=True)
class LogFilter:
    """level: the least, "" for all. contains: anywhere in the line, "" for all."""

    level: str = ""
    contains: str = ""


async def get_page(client: Client, wanted: LogFilter, before: str | None = None) -> LogPage:
    """The last lines that are wanted, or the last before a place."""
    params = {"level": wanted.level or None, "contains": wanted.contains or None, "limit": PAGE, "before": before}
    return await client.get("/admin/v1/logs", LogPage, params)


async def follow_lines(client: Client, wanted: LogFilter, after: str) -> AsyncIterator[LogLine | LogGap]:
    """What comes after a place."""
    params = {"level": wanted.level or None, "contains": wanted.contains or None, "after": after, "follow": True}
    async for event in client.events("GET", "/admin/v1/logs", params=params):
        if event.name == "log":
            yield event.decode(LogLine)
        elif event.name == "gap":
            yield event.decode(LogGap)
