"""What an administrator sees of MCP servers: /admin/v1/mcp, the metrics, the doctor; and that nobody pays for the SDK
before it is used."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx2
import pytest

from llmos_server.access.gate import Gate
from llmos_server.agents.mcp.declared import declare_all
from llmos_server.agents.mcp.servers import McpServers
from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory
from llmos_server.doctor import check_mcp
from llmos_server.mcp_settings import McpServerSettings, McpSettings
from llmos_server.settings import ApiSettings, Settings

SETTINGS = McpSettings(
    servers={
        "broken": McpServerSettings(command="no-such-program", args=("--key", "s3cret"), env={"KEY": "s3cret-value"}),
        "far": McpServerSettings(url="http://user:s3cret@127.0.0.1:1/mcp?key=s3cret", enabled=False),
    }
)


@pytest.fixture
async def servers() -> Any:
    servers = McpServers(declare_all(SETTINGS, {"PATH": "/bin"}))
    yield servers
    await servers.stop()


@pytest.fixture
def admin_api(servers: McpServers, fakes: Any) -> Any:
    """Its client is an administrator."""
    keys = fakes.MemoryKeys()
    app = create_api(
        ModelDirectory([], aliases={}),
        ApiSettings(),
        gate=Gate(keys),
        mcp=servers,
        serves_mcp=False,
    )
    headers = {"Authorization": f"Bearer {keys.add(is_admin=True)}"}
    transport = httpx2.ASGITransport(app=app)
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000", headers=headers)


async def test_servers_are_told_without_their_secrets(admin_api: Any, servers: McpServers) -> None:
    await servers.start()
    broken = servers.by_name["broken"]
    with pytest.raises(Exception, match="is down"):
        await broken.call("x", {})
    answer = await admin_api.get("/admin/v1/mcp")
    first, second = answer.json()["data"]
    assert (first["name"], first["transport"], first["place"]) == ("broken", "stdio", "no-such-program")
    assert (first["state"], first["num_calls"], first["num_errors"], first["tools"]) == ("waiting", 1, 1, [])
    assert first["last_error"] == (
        "ended with exit status 127; its last words: no-such-program: No such file or directory"
    )
    assert (second["state"], second["place"]) == ("off", "http://127.0.0.1:1/mcp")
    findings = (await admin_api.get("/admin/v1/doctor")).text
    assert "MCP server broken (no-such-program): waiting: it ended with exit status 127" in findings
    assert "MCP server far (http://127.0.0.1:1/mcp): switched off" in findings
    metrics = (await admin_api.get("/metrics")).text
    assert 'llmos:mcp_calls_total{server="broken"} 1.0' in metrics
    assert 'llmos:mcp_call_errors_total{server="broken"} 1.0' in metrics
    assert 'llmos:mcp_servers_ready{server="broken"} 0.0' in metrics
    assert "s3cret" not in answer.text + findings + metrics


async def test_they_are_for_administrators(admin_api: Any) -> None:
    assert (await admin_api.get("/admin/v1/mcp", headers={"Authorization": ""})).status_code == 401


async def test_where_it_is_switched_off_there_is_no_mcp(admin_api: Any) -> None:
    assert (await admin_api.post("/mcp", json={})).status_code == 404


def test_the_doctor_looks_at_declarations_where_no_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = [(finding.level, finding.text) for finding in check_mcp(Settings(mcp=SETTINGS))]
    assert levels == [
        ("warning", "MCP server broken: there is no program 'no-such-program'"),
        ("ok", "MCP server far: declared (http://127.0.0.1:1/mcp)"),
    ]
    wrong = McpSettings(servers={"a": McpServerSettings(url="http://h/", headers={"A": "${SURELY_NOT_SET}"})})
    (finding,) = check_mcp(Settings(mcp=wrong))
    assert finding.level == "failure"
    assert "SURELY_NOT_SET" in finding.text


def test_nobody_waits_for_the_sdk_who_does_not_use_it() -> None:
    modules = "llmos_server.app, llmos_server.cli, llmos_server.doctor"
    code = f"import sys, {modules}; print([name for name in ('mcp', 'mcp_types') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"
