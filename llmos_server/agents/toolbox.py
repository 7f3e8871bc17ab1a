"""All tools of one request that the server runs, under names that the model can tell apart."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from llmos_server.agents.tool import ServerTool
from llmos_server.agents.tool_source import SourceFailed, ToolSource
from llmos_server.chat.guarded import shared_guard
from llmos_server.chat.tools.tool import create_tool
from llmos_server.errors import InvalidRequest

log = structlog.get_logger(__name__)

MAX_NAME = 128


@dataclass(kw_only=True)
class Listing:
    """What came of asking one source."""

    source: ToolSource
    tools: list[ServerTool] = field(default_factory=list)
    error: str | None = None


class Toolbox:
    """Close it; then no source runs anything any more."""

    def __init__(self, sources: Sequence[ToolSource]) -> None:
        self._sources = sources
        self.tools: dict[str, ServerTool] = {}
        """By the name that the model calls."""

    async def open(self, taken: Iterable[str], max_tools: int) -> list[Listing]:
        """Ask all sources, in their order. taken: names of the client's own functions. Raises InvalidRequest when there
        are more tools than may be."""
        names = set(taken)
        listings = [await self._list(source, names) for source in self._sources]
        if len(names) > max_tools:
            raise InvalidRequest(
                f"tools: together they are {len(names)}; this server takes at most {max_tools} (api.max_tools). Allow "
                "fewer of a server's tools (allowed_tools).",
                param="tools",
                code="invalid_value",
            )
        return listings

    async def close(self) -> None:
        for source in self._sources:
            await source.close()

    def find(self, label: str, shown_name: str) -> ServerTool | None:
        return next(
            (tool for tool in self.tools.values() if (tool.label, tool.shown_name) == (label, shown_name)), None
        )

    async def _list(self, source: ToolSource, names: set[str]) -> Listing:
        listing = Listing(source=source)
        try:
            found = await source.list_tools()
        except SourceFailed as error:
            listing.error = str(error)
            return listing
        for tool in found:
            try:
                await shared_guard().in_thread(_check_schema, tool)
            except InvalidRequest as error:
                log.warning("tool left out", name=tool.shown_name, source=tool.source, error=str(error)[:300])
                continue
            named = _renamed(tool, names)
            names.add(named.name)
            self.tools[named.name] = named
            listing.tools.append(named)
        return listing


def _check_schema(tool: ServerTool) -> None:
    """What comes from elsewhere may be no schema; one tool less is no reason to refuse a request."""
    create_tool(tool.name, tool.description, tool.parameters, strict=False, param="parameters")


def _renamed(tool: ServerTool, taken: set[str]) -> ServerTool:
    """Its own name where nobody else has it; else behind its source's label, and a number where that's taken, too."""
    base = _clean(tool.name)
    candidates = [base, _clean(f"{tool.label}.{tool.name}"), *(f"{base[: MAX_NAME - 4]}_{n}" for n in range(2, 1000))]
    name = next(candidate for candidate in candidates if candidate not in taken)
    if name == tool.name:
        return tool
    return dataclasses.replace(tool, name=name, own_name=tool.shown_name)


def _clean(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_.-]", "_", name)[:MAX_NAME] or "tool"
