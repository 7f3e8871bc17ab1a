"""An entry {"type": "mcp"} of a request's `tools`: OpenAI's fields, each of them followed or refused by name."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from llmos_server.errors import InvalidRequest

Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=256)]], Meta(max_length=256)]
HeaderText = Annotated[str, Meta(max_length=8192, pattern=r"^[\t -~]*$")]
HeaderName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")]
Label = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]

UNSUPPORTED = {
    "connector_id": "connectors are services of OpenAI's; name the server by server_url",
    "tunnel_id": "tunnels are a service of OpenAI's; name the server by server_url",
    "allowed_callers": "tools are called by the model alone here; leave it out",
}
OWN_HEADERS = re.compile(r"(?i)(host|connection|content-.*|transfer-encoding|accept.*|mcp-.*|te|upgrade|trailer)")
"""Those that the protocol needs."""

_PLACE = re.compile(r" - at (?:`key` in )?`\$\.?(.*)`$")


class Filter(Struct, kw_only=True, forbid_unknown_fields=True):
    """None lets everything through."""

    tool_names: Names | None = None
    read_only: bool | None = None

    def matches(self, tool: str, is_read_only: bool) -> bool:
        is_named = self.tool_names is None or tool in self.tool_names
        return is_named and (self.read_only is None or self.read_only == is_read_only)


class Approvals(Struct, kw_only=True, forbid_unknown_fields=True):
    always: Filter | None = None
    never: Filter | None = None


class McpEntry(Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["mcp"]
    server_label: Label
    server_url: str | None = None
    """None: the operator's server of that name."""
    server_description: Annotated[str, Meta(max_length=2048)] | None = None
    headers: Annotated[dict[HeaderName, HeaderText], Meta(max_length=32)] | None = None
    authorization: HeaderText | None = None
    allowed_tools: Names | Filter | None = None
    require_approval: Literal["always", "never"] | Approvals | None = None
    defer_loading: Literal[False] | None = None

    def allows(self, tool: str, is_read_only: bool) -> bool:
        if isinstance(self.allowed_tools, Filter):
            return self.allowed_tools.matches(tool, is_read_only)
        return self.allowed_tools is None or tool in self.allowed_tools

    def needs_approval(self, tool: str, is_read_only: bool) -> bool:
        """As OpenAI's server: always, unless the entry says otherwise; for the operator's own servers, what he says
        holds besides, and is enough where the entry says nothing."""
        wanted = self.require_approval
        if wanted is None:
            return self.server_url is not None
        if isinstance(wanted, Approvals):
            if wanted.always is not None and wanted.always.matches(tool, is_read_only):
                return True
            return not (wanted.never is not None and wanted.never.matches(tool, is_read_only))
        return wanted == "always"


def read_entry(entry: dict[str, Any], where: str) -> McpEntry:
    """Raises InvalidRequest that names the field."""
    given = {name: value for name, value in entry.items() if value is not None}
    for name, reason in UNSUPPORTED.items():
        if name in given:
            raise refusal(f"{where}.{name}", reason, "unsupported_parameter")
    try:
        made = msgspec.convert(given, McpEntry)
    except msgspec.ValidationError as error:
        text = str(error)
        found = _PLACE.search(text)
        param = f"{where}.{found[1]}" if found else where
        raise refusal(param, _PLACE.sub("", text)) from None
    if made.server_url is None and (made.headers or made.authorization):
        field = "headers" if made.headers else "authorization"
        raise refusal(f"{where}.{field}", "what is sent to a server of the operator's is in his configuration")
    for name in made.headers or {}:
        if OWN_HEADERS.fullmatch(name):
            raise refusal(f"{where}.headers.{name}", "this header is the protocol's own")
    return made


def headers_of(entry: McpEntry) -> dict[str, str]:
    bearer = {"Authorization": f"Bearer {entry.authorization}"} if entry.authorization else {}
    return {**bearer, **(entry.headers or {})}


def refusal(param: str, reason: str, code: str = "invalid_value") -> InvalidRequest:
    return InvalidRequest(f"{param}: {reason}.", param=param, code=code)
