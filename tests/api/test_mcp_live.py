"""/mcp over real sockets: a client that leaves ends its call, and the programs of docs/mcp.md do what the page says."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mcp.client import Client

from llmos_server import Skill, SkillContext, hookimpl
from llmos_server.agents.mcp.declared import declare_all
from llmos_server.agents.mcp.servers import McpServers
from llmos_server.plugins.host import PluginHost, load_plugins
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings, load_settings


class WaitInput(msgspec.Struct):
    text: str = ""


class WaitOutput(msgspec.Struct):
    result: str


class Wait(Skill[WaitInput, WaitOutput]):
    """Ends when it is cancelled."""

    name = "wait"
    version = "1"
    description = "Waits."
    input_type = WaitInput
    output_type = WaitOutput
    entered = threading.Event()
    cancelled = threading.Event()

    async def run(self, input: WaitInput, context: SkillContext) -> WaitOutput:
        self.entered.set()
        context.progress(0, 1, "waiting")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return WaitOutput(result="")


class WaitPlugin:
    hook_api = "1.0"

    @hookimpl
    def register_skills(self) -> list[Any]:
        return [Wait()]


async def call_and_leave(url: str, mode: str) -> None:
    async with Client(f"{url}/mcp", mode=mode) as client:
        call = asyncio.create_task(client.call_tool("wait", {}))
        assert await asyncio.to_thread(Wait.entered.wait, 30)
        call.cancel()
        await asyncio.wait({call})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_client_that_leaves_ends_its_call(make_api: Callable[..., Any], run_app: Any, mode: str) -> None:
    Wait.entered.clear()
    Wait.cancelled.clear()
    host = PluginHost(PluginsSettings())
    host.add(Candidate(name="waiting", source="built-in", load=WaitPlugin), {})
    api = make_api(plugins=host)
    with run_app(api.app) as url:
        asyncio.run(call_and_leave(url, mode))
        assert Wait.cancelled.wait(30)
    assert api.generator.num_holds == 0


def page_blocks(project: Path, language: str) -> list[str]:
    page = (project / "docs/mcp.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_pages_client_lists_and_runs_skills(
    project: Path, tmp_path: Path, make_api: Callable[..., Any], run_app: Any
) -> None:
    api = make_api("The sun is a star that shines.", plugins=load_plugins(PluginsSettings()), max_model_len=8192)
    program = tmp_path / "client.py"
    with run_app(api.app) as url:
        program.write_text(page_blocks(project, "python")[0].replace("http://127.0.0.1:8000", url))
        done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert {"classification", "code", "summarization", "translation"} <= {line.partition(" - ")[0] for line in lines}
    assert lines[-1] == "The sun is a star that shines."


async def test_the_pages_server_is_declared_as_the_page_says(project: Path, tmp_path: Path) -> None:
    (tmp_path / "clock.py").write_text(page_blocks(project, "python")[1])
    config = tmp_path / "config.toml"
    text = (
        page_blocks(project, "toml")[0].replace("/opt/mcp", str(tmp_path)).replace('"python3"', f'"{sys.executable}"')
    )
    config.write_text(text)
    settings = load_settings(config, env={"LLMOS_HOME": str(tmp_path)})
    declared = declare_all(settings.mcp, {**os.environ, "CLOCK_KEY": "k", "SEARCH_TOKEN": "t" * 20})
    assert [one.name for one in declared] == ["clock", "search"]
    servers = McpServers(declared[:1])
    await servers.start()
    try:
        clock = servers.by_name["clock"]
        await clock.wait_ready(60)
        (now,) = clock.tools()
        assert (now.name, now.description, now.needs_approval) == ("clock__now", "The date and time in UTC.", False)
        assert (await now.run({})).text.startswith("20")
    finally:
        await servers.stop()


@pytest.mark.parametrize("version", ["2025-06-18", "2026-07-28"])
async def test_a_call_that_outlives_the_grace_time_ends_with_an_error(
    make_api: Callable[..., Any], version: str
) -> None:
    """As the web server ends it: by cancelling the app."""
    host = PluginHost(PluginsSettings())
    host.add(Candidate(name="waiting", source="built-in", load=WaitPlugin), {})
    begun = asyncio.Event()
    sent: list[Any] = []
    meta = {"progressToken": "p", "io.modelcontextprotocol/protocolVersion": version}
    meta["io.modelcontextprotocol/clientCapabilities"] = {}  # type: ignore[assignment]
    params = {"name": "wait", "arguments": {}, "_meta": meta}
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params})
    headers = {
        "host": "127.0.0.1",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": version,
        "mcp-method": "tools/call",
        "mcp-name": "wait",
    }
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "state": {},
    }
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        return await asyncio.Future()

    async def send(message: Any) -> None:
        sent.append(message)
        begun.set()

    task = asyncio.create_task(make_api(plugins=host).app(scope, receive, send))
    async with asyncio.timeout(30):
        await begun.wait()
    task.cancel()
    await asyncio.wait({task})
    assert sent[0]["status"] == 200
    answer = msgspec.json.decode(sent[-1]["body"].partition(b"data: ")[2])
    assert (answer["id"], answer["error"]["code"]) == (7, -32603)
    assert "shutting down" in answer["error"]["message"]
