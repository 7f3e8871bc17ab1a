"""MCP both ways in a real server: skills run on the real model for the SDK's client, and declared servers live and end
with it, whatever they do."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from mcp.client import Client

pytestmark = pytest.mark.real_model

SCRIPT = Path(__file__).parents[1] / "agents/mcp/raw_server.py"
CONFIG = """
[mcp.servers.good]
command = "{python}"
args = ["{script}", "honest"]
env = {{ TOKEN = "${{TEST_TOKEN}}" }}

[mcp.servers.hung]
command = "{python}"
args = ["{script}", "hang-at-start"]
start_seconds = 3600
"""


@pytest.fixture(scope="module")
def mcp_server(smollm2: Any, tmp_path_factory: pytest.TempPathFactory, start_server: Any) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("mcp")
    script = shutil.copy(SCRIPT, folder)  # A path of its own tells these processes from others'.
    (folder / "config.toml").write_text(CONFIG.format(python=sys.executable, script=script))
    live = start_server(folder, smollm2.name, env={"TEST_TOKEN": "s3cret-value"})
    live.wait_until_ready()
    yield live
    live.stop()


def admin(server: Any, path: str) -> Any:
    token = (server.log.parent / "home/admin.token").read_text().strip()
    request = urllib.request.Request(server.url + path, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def states(server: Any) -> dict[str, str]:
    return {one["name"]: one["state"] for one in admin(server, "/admin/v1/mcp")["data"]}


def pids(server: Any) -> list[int]:
    """Of the declared servers, and of their holders."""
    script = str(server.log.parent / "raw_server.py")
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if script.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


async def classify(url: str) -> Any:
    async with Client(f"{url}/mcp") as client:
        given = {"text": "The goalkeeper saved a penalty.", "labels": ["sport", "music"]}
        return await client.call_tool("classification", given)


def test_a_skill_runs_on_the_real_model(mcp_server: Any, smollm2: Any) -> None:
    result = asyncio.run(classify(mcp_server.url))
    assert result.structured_content["result"] == "sport"
    assert result.meta["llmos/run"]["model_digest"] == smollm2.digest
    mcp_server.wait_for(lambda: admin(mcp_server, "/admin/v1/usage")["data"], "in the ledger")


def test_a_server_that_hangs_at_its_start_keeps_nobody_waiting(mcp_server: Any) -> None:
    mcp_server.wait_for(lambda: states(mcp_server) == {"good": "ready", "hung": "starting"}, "one of two ready")
    assert mcp_server.get("/ready")[0] == 200
    findings = [finding["text"] for finding in admin(mcp_server, "/admin/v1/doctor")["data"]]
    assert any("MCP server good" in text and "ready, 13 tools" in text for text in findings)


def test_a_model_calls_a_declared_servers_tool(mcp_server: Any, smollm2: Any) -> None:
    mcp_server.wait_for(lambda: states(mcp_server)["good"] == "ready", "ready")
    client = openai.OpenAI(base_url=f"{mcp_server.url}/v1", api_key="none", max_retries=0)
    answer = client.responses.create(
        model=smollm2.name,
        input="Call it.",
        tools=[{"type": "mcp", "server_label": "good", "allowed_tools": ["echo"]}],
        tool_choice={"type": "mcp", "server_label": "good", "name": "echo"},
        max_output_tokens=100,
        max_tool_calls=1,
        parallel_tool_calls=False,  # The small model says a call again and again, until its tokens are used up.
    )
    listed, call, *_ = answer.output
    assert listed.type == "mcp_list_tools"
    assert [tool.name for tool in listed.tools] == ["echo"]
    assert call.type == "mcp_call"
    assert (call.name, call.output, call.error) == ("echo", "echo", None)


def test_servers_are_started_again_and_end_with_this_one(mcp_server: Any) -> None:
    mcp_server.wait_for(lambda: states(mcp_server)["good"] == "ready", "ready")
    parents = str(mcp_server.process.pid)
    holders = [
        pid
        for pid in pids(mcp_server)
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1] == parents
    ]
    assert len(holders) == 2
    (good,) = [
        pid for pid in pids(mcp_server) if pid not in holders and b"honest" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    os.kill(good, signal.SIGKILL)
    mcp_server.wait_for(lambda: mcp_server.metric("llmos:mcp_restarts_total") == 1, "connected anew", 60)
    mcp_server.wait_for(lambda: states(mcp_server)["good"] == "ready", "ready again", 60)
    assert mcp_server.stop() == 0
    assert pids(mcp_server) == []
    log = mcp_server.log.read_text()
    assert "MCP server ended" in log
    assert "s3cret" not in log
