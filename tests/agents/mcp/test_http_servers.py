"""Our client against servers over HTTP: honest ones of the SDK's; answers that lead elsewhere, are too large or none at
all."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from llmos_server.agents.mcp.declared import declare
from llmos_server.agents.mcp.failures import McpFailed
from llmos_server.agents.mcp.server import McpServer
from llmos_server.agents.mcp.servers import create_server
from llmos_server.mcp_settings import McpServerSettings

spec = importlib.util.spec_from_file_location("mcp_http_server", Path(__file__).parent / "http_server.py")
assert spec is not None
assert spec.loader is not None
remote = importlib.util.module_from_spec(spec)
spec.loader.exec_module(remote)

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def use() -> AsyncIterator[Callable[..., McpServer]]:
    servers: list[McpServer] = []

    def use(url: str, **settings: Any) -> McpServer:
        server = create_server(declare("far", McpServerSettings(url=f"{url}/mcp", **settings), os.environ))
        server.start()
        servers.append(server)
        return server

    yield use
    for server in servers:
        await server.stop()


@pytest.mark.parametrize("is_json", [False, True])
async def test_an_sdk_server_is_listed_and_called(use: Callable[..., McpServer], is_json: bool) -> None:
    with remote.serving(remote.create_app(is_json=is_json)) as url:
        server = use(url, headers={"Authorization": "Bearer s3cret-value"}, timeout_seconds=5.0)
        await server.wait_ready(30)
        assert [tool.name for tool in server.tools()] == ["far__echo", "far__hang", "far__huge", "far__headers"]
        assert (await server.call("echo", {})).text == "echo"
        assert json.loads((await server.call("headers", {})).text)["authorization"] == "Bearer s3cret-value"
        with pytest.raises(McpFailed, match="it has more than 4194304 bytes"):
            await server.call("huge", {})
        assert (await server.call("echo", {})).text == "echo"
        assert server.num_restarts == 0
    with pytest.raises(McpFailed):
        await server.call("echo", {})


async def test_a_call_that_hangs_ends_in_time(use: Callable[..., McpServer]) -> None:
    with remote.serving(remote.create_app()) as url:
        server = use(url, timeout_seconds=1.5)
        await server.wait_ready(30)
        with pytest.raises(McpFailed, match=r"The tool hang of the MCP server far did not answer within 1\.5 s"):
            await server.call("hang", {})
        assert (await server.call("echo", {})).text == "echo"


async def test_a_server_that_was_away_is_connected_again(use: Callable[..., McpServer], mcp_helpers: Any) -> None:
    with remote.serving(remote.Scripted((503, JSON, b"{}"))) as url:
        server = use(url)
        await mcp_helpers.until(lambda: server.state == "waiting")
        assert server.last_error.endswith("(HTTP 503)")
    with pytest.raises(McpFailed, match=r"The MCP server far is down: it answered: .*HTTP 503"):
        await server.call("echo", {})


@pytest.mark.parametrize("target", ["http://127.0.0.2:1/mcp", "http://127.0.0.1:1/mcp", "https://127.0.0.1/mcp"])
async def test_redirects_to_another_place_are_not_followed(
    use: Callable[..., McpServer], mcp_helpers: Any, target: str
) -> None:
    app = remote.Scripted((307, {"Location": target}, b""))
    with remote.serving(app) as url:
        server = use(url)
        await mcp_helpers.until(lambda: server.state == "waiting")
        assert "not followed" in server.last_error
        assert target in server.last_error


async def test_a_redirect_on_the_same_host_is_followed(use: Callable[..., McpServer]) -> None:
    inner = remote.create_app()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/mcp" and not scope["query_string"]:
            await remote.Scripted((307, {"Location": "/mcp?again=1"}, b""))(scope, receive, send)
        else:
            await inner(scope, receive, send)

    with remote.serving(app) as url:
        server = use(url)
        await server.wait_ready(30)
        assert (await server.call("echo", {})).text == "echo"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((200, JSON, b"x" * 5_000_000), "it has more than 4194304 bytes"),
        ((200, {**JSON, "Content-Encoding": "gzip"}, gzip.compress(b"x" * 50_000_000)), "it is compressed"),
        ((200, {"Content-Type": "text/event-stream"}, b"data: " + b"x" * 5_000_000), "SSE stream"),
        ((200, {"Content-Type": "text/html"}, b"<html>"), "Unexpected content type: text/html"),
        ((200, JSON, b"{}"), "answered"),
        ((200, JSON, b'{"jsonrpc": "2.0", "id": 77, "result": {}}'), "did not start within 3 s"),
        ((401, {}, b""), r"\(HTTP 401\)"),
        ((404, {}, b""), r"\(HTTP 404\)"),
    ],
)
async def test_what_is_no_answer_is_told(
    use: Callable[..., McpServer], mcp_helpers: Any, answer: tuple[int, dict[str, str], bytes], message: str
) -> None:
    with remote.serving(remote.Scripted(answer)) as url:
        server = use(url, start_seconds=3.0)
        await mcp_helpers.until(lambda: server.state == "waiting")
    with pytest.raises(ValueError, match=message):
        raise ValueError(server.last_error)
    assert len(server.last_error) < 500
