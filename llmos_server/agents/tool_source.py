"""Where the server's tools come from: one entry of a request's `tools` is one source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from llmos_server.agents.tool import ServerTool
from llmos_server.key_contracts import Principal


class SourceFailed(Exception):
    """Its tools can't be had now; str(error) is fit for the client, and says what to do."""


class ToolSource(Protocol):
    """Of one request: made when that comes in, closed when its answer has ended, however it did."""

    label: str
    """`server_label` of its items."""
    is_listed: bool
    """Whether its tools are shown as an item of their own (`mcp_list_tools`): where the entry doesn't name each."""

    async def list_tools(self) -> Sequence[ServerTool]:
        """Those that the entry allows, and of them those that the key may run; two sources may have tools of one name.
        Raises SourceFailed: the answer then goes on without them, and an item says so."""
        ...

    async def close(self) -> None:
        """Safe to call twice, also while a tool runs. Never raises."""
        ...


class ToolProvider(Protocol):
    """Makes sources of all entries of one `type`."""

    def open(self, entry: dict[str, Any], *, where: str, principal: Principal, request: Any) -> ToolSource:
        """entry: as the client wrote it; all its fields are the provider's to check. where: its place in the request
        ("tools[1]"), for errors. request: opaque, for what runs under the caller's key.

        Raises InvalidRequest or Forbidden that names the field. Starts nothing."""
        ...
