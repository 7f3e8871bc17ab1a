"""Servers that hang, die, lie and flood: each ends with a clear error in time, and nothing of them is left."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from llmos_server.agents.mcp.failures import McpFailed, ToolMissing

LIES = [("garble", "answered with an error: the answer is no message of MCP"), ("wrong-result", "no result of a tool")]


async def test_lies_are_errors_of_the_call_alone(start: Any) -> None:
    server = await start("raw_server.py").ready()
    for tool, message in LIES:
        with pytest.raises(McpFailed, match=message):
            await server.call(tool, {})
    assert (await server.call("echo", {})).text == "echo"
    with pytest.raises(ToolMissing, match="The MCP server test has no tool 'gone' any more"):
        await server.call("gone", {})
    assert (server.num_restarts, server.counts.num_calls, server.counts.num_errors) == (0, 4, 3)


@pytest.mark.parametrize("tool", ["no-json", "other-id"])
async def test_a_call_without_an_answer_ends_in_time(start: Any, tool: str) -> None:
    server = await start("raw_server.py", timeout_seconds=1.5).ready()
    with pytest.raises(McpFailed, match=f"The tool {tool} of the MCP server test did not answer within 1.5 s"):
        await server.call(tool, {})
    assert (await server.call("echo", {})).text == "echo"


async def test_a_server_that_hangs_call_after_call_is_started_anew(start: Any) -> None:
    server = await start("raw_server.py", timeout_seconds=1.5).ready()
    for tool in ("deaf", "echo", "echo"):
        with pytest.raises(McpFailed, match=r"did not answer within 1\.5 s"):
            await server.call(tool, {})
    await server.wait_ready(30)
    assert (await server.call("echo", {})).text == "echo"
    assert server.num_restarts == 1
    assert server.last_error == "took too long for 3 calls in a row"


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ("die", "ended with exit status 7 during the call"),
        ("close-stdout", "closed its stdout during the call"),
        ("flood", "sent more than 100 notifications a second during the call"),
        ("babble", "sent more than 100 notifications a second during the call"),
        ("huge-line", "sent a message of more than 4194304 bytes during the call"),
    ],
)
async def test_a_server_that_breaks_in_a_call_is_started_anew(start: Any, tool: str, message: str) -> None:
    server = await start("raw_server.py").ready()
    with pytest.raises(McpFailed, match=message):
        await server.call(tool, {})
    assert (await server.call("echo", {})).text == "echo"
    assert server.num_restarts == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mode": "hang-at-start", "start_seconds": 1.0}, r"did not start within 1 s \(its setting start_seconds\)"),
        (
            {"mode": "die-at-start", "env": {"TOKEN": "a-secret"}},
            r"exit status 1; its last words: no licence: token \*\*\*$",
        ),
        ({"mode": "endless"}, "a list of tools that doesn't end within 16 pages"),
        ({"command": "no-such-program"}, "its last words: no-such-program: No such file"),
        ({"cwd": "/no-such-folder"}, "can't be started"),
    ],
)
async def test_what_can_not_start_is_tried_again_later(start: Any, fields: dict[str, Any], message: str) -> None:
    server = await start("raw_server.py", **fields).down()
    with pytest.raises(McpFailed, match="The MCP server test is down: it "):
        await server.call("echo", {})
    assert server.tools() == []
    assert re.search(message, server.last_error)


async def test_all_that_a_server_has_started_ends_with_it(start: Any, mcp_helpers: Any) -> None:
    server = await start("raw_server.py").ready()
    pids = [int(pid) for pid in (await server.call("spawn", {})).text.split()]
    assert all(map(mcp_helpers.is_alive, pids))
    await server.stop()
    assert not any(map(mcp_helpers.is_alive, pids))
    with pytest.raises(McpFailed, match="is stopped"):
        await server.call("echo", {})


async def test_nothing_is_left_when_this_process_is_killed(tmp_path: Path, mcp_helpers: Any) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import asyncio, os, sys
        from llmos_server.agents.mcp.declared import declare
        from llmos_server.agents.mcp.servers import create_server
        from llmos_server.mcp_settings import McpServerSettings

        async def main():
            settings = McpServerSettings(command=sys.executable, args=({str(mcp_helpers.HERE / "raw_server.py")!r},))
            server = create_server(declare("test", settings, os.environ))
            server.start()
            await server.wait_ready(30)
            print("PIDS", (await server.call("spawn", {{}})).text, flush=True)
            await server.call("deaf", {{}})

        asyncio.run(main())
        """),
        encoding="utf-8",
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        line = next(line for line in parent.stdout if line.startswith(b"PIDS"))
        pids = [int(pid) for pid in line.split()[1:]]
        parent.send_signal(signal.SIGKILL)
    await mcp_helpers.until(lambda: not any(map(mcp_helpers.is_alive, pids)))


async def test_an_older_server_tells_that_its_tools_have_changed(start: Any, mcp_helpers: Any) -> None:
    server = await start("raw_server.py", tools=("e*", "gr*"), approval=("grow*",)).ready()
    assert [(tool.own_name, tool.needs_approval) for tool in server.tools()] == [("echo", False), ("grow", True)]
    await server.call("grow", {})
    await mcp_helpers.until(lambda: "grown" in server.listing.offered)
    assert server.listing.num_hidden == 11
