"""Entries {"type": "mcp"} of a request's tools: the operator's servers by name, and those that a request names."""

from __future__ import annotations

from typing import Any

import pytest

from llmos_server.agents.mcp.declared import declare
from llmos_server.agents.mcp.servers import McpServers
from llmos_server.agents.mcp.source import McpProvider
from llmos_server.agents.tool_source import SourceFailed, ToolSource
from llmos_server.errors import InvalidRequest
from llmos_server.key_contracts import NOBODY, Principal
from llmos_server.mcp_settings import McpServerSettings

PUBLIC = "93.184.215.14"


class Opener:
    def __init__(self, servers: McpServers, client_hosts: tuple[str, ...] = ()) -> None:
        async def resolve(host: str, port: int) -> list[str]:
            return ["127.0.0.1"] if host == "inside.example.org" else []

        self._provider = McpProvider(servers, client_hosts, resolve)

    def __call__(self, principal: Principal = NOBODY, **entry: Any) -> ToolSource:
        given = {"type": "mcp", "server_label": "test", **entry}
        return self._provider.open(given, where="tools[1]", principal=principal, request=None)


@pytest.fixture
def servers() -> McpServers:
    off = McpServerSettings(command="x", enabled=False)
    return McpServers([declare("off", off, {})])


async def names(source: ToolSource) -> dict[str, bool]:
    return {tool.shown_name: tool.needs_approval for tool in await source.list_tools()}


async def test_an_entry_chooses_of_a_declared_server(start: Any, servers: McpServers) -> None:
    server = await start("raw_server.py", tools=("echo", "grow", "die"), approval=("die",)).ready()
    servers.by_name["test"] = server
    opened = Opener(servers)
    source = opened()
    assert (source.label, source.is_listed) == ("test", True)
    assert await names(source) == {"echo": False, "grow": False, "die": True}
    assert await names(opened(allowed_tools=["echo", "nothing"])) == {"echo": False}
    assert await names(opened(allowed_tools={"tool_names": ["die"]}, require_approval="never")) == {"die": True}
    assert await names(opened(allowed_tools={"read_only": True})) == {}
    assert await names(opened(require_approval="always")) == {"echo": True, "grow": True, "die": True}
    asked = {"always": {"tool_names": ["grow"]}, "never": {"tool_names": ["echo", "grow"]}}
    assert await names(opened(require_approval=asked)) == {"echo": False, "grow": True, "die": True}
    assert await names(opened(Principal(tools=("test__echo", "shout")))) == {"echo": False}
    described = await opened(server_description="Broken on purpose.", allowed_tools=["echo"]).list_tools()
    assert described[0].description.endswith("(Of test: Broken on purpose.)")
    assert (await described[0].run({})).text == "echo"
    await source.close()
    await source.close()
    assert server.state == "ready"


@pytest.mark.parametrize(
    ("entry", "param", "message"),
    [
        ({"server_label": "gone"}, "server_label", "no MCP server 'gone' is declared here .there is: none."),
        ({"server_label": "off"}, "server_label", "no MCP server 'off' is declared here"),
        ({"server_label": "a b"}, "server_label", "Expected `str` matching regex"),
        ({"server_label": None}, None, "missing required field `server_label`"),
        ({"connector_id": "connector_gmail"}, "connector_id", "services of OpenAI's"),
        ({"allowed_callers": ["direct"]}, "allowed_callers", "called by the model alone"),
        ({"surprise": 1}, None, "unknown field `surprise`"),
        ({"defer_loading": True}, "defer_loading", "Invalid"),
        ({"allowed_tools": {"tool_name": ["x"]}}, "allowed_tools", "unknown field `tool_name`"),
        ({"require_approval": "sometimes"}, "require_approval", "sometimes"),
        ({"headers": {"A": "b"}}, "headers", "what is sent to a server of the operator's is in his configuration"),
        ({"authorization": "x"}, "authorization", "is in his configuration"),
        ({"server_url": "https://a.example/", "headers": {"Host": "b"}}, "headers.Host", "the protocol's own"),
        ({"server_url": "https://a.example/", "headers": {"A": "b\r\nC: d"}}, "headers", "regex"),
        ({"server_url": "https://other.example/"}, "server_url", "connects to no MCP server at 'other.example'"),
    ],
)
def test_what_can_not_be_followed_is_refused_by_name(
    servers: McpServers, entry: dict[str, Any], param: str | None, message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        Opener(servers, ("a.example",))(**entry)
    expected = "tools[1]" if param is None else f"tools[1].{param}"
    assert str(caught.value.param).startswith(expected)


@pytest.mark.parametrize(
    ("host", "message"), [("inside.example.org", "inside of a network"), ("gone.example.org", "can't be resolved")]
)
async def test_a_named_server_inside_is_not_connected(servers: McpServers, host: str, message: str) -> None:
    source = Opener(servers, ("*.example.org",))(server_url=f"https://{host}/mcp")
    with pytest.raises(SourceFailed, match=message):
        await source.list_tools()
    await source.close()


async def test_a_declared_server_that_is_down_is_told(start: Any, servers: McpServers) -> None:
    server = await start("raw_server.py", "die-at-start").down()
    servers.by_name["test"] = server
    with pytest.raises(SourceFailed, match="The MCP server test is down: it ended with exit status 1"):
        await Opener(servers)().list_tools()
