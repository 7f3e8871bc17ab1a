"""MCP servers' tools in the agents' loop, through /v1/responses: listed, called, approved, broken."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from agent_fakes import calls, turns
from response_events import assemble, parse

from llmos_server.access.gate import Gate
from llmos_server.agents.mcp.declared import declare_all
from llmos_server.agents.mcp.servers import McpServers
from llmos_server.api.app import create_api
from llmos_server.api.served import ModelDirectory, ServedModel
from llmos_server.mcp_settings import McpServerSettings, McpSettings
from llmos_server.settings import ApiSettings

SCRIPT = Path(__file__).parents[1] / "agents/mcp/raw_server.py"
URL = "/v1/responses"
ENTRY = {"type": "mcp", "server_label": "box"}


def program(mode: str = "honest", **fields: Any) -> McpServerSettings:
    return McpServerSettings(command=sys.executable, args=(str(SCRIPT), mode), timeout_seconds=2.0, **fields)


@pytest.fixture
async def servers() -> AsyncIterator[McpServers]:
    declared = {"box": program(approval=("spawn",)), "down": program("die-at-start")}
    servers = McpServers(declare_all(McpSettings(servers=declared), os.environ))
    await servers.start()
    await servers.by_name["box"].wait_ready(60)
    yield servers
    await servers.stop()


@pytest.fixture
def make(fakes: Any, servers: McpServers) -> Callable[..., Any]:
    def make(*answers: str, keys: Any = None) -> Any:
        generator = fakes.ScriptedGenerator(turns(*answers), max_model_len=20000)
        renderer = fakes.ByteRenderer(template="<tool_call></tool_call></think>")
        model = ServedModel(id="tiny", created=1, renderer=renderer, engine=generator)
        directory = ModelDirectory([model], aliases={})
        app = create_api(directory, ApiSettings(), mcp=servers, gate=Gate(keys) if keys else None)
        http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://127.0.0.1:8000", timeout=60)
        http.generator = generator  # type: ignore[attr-defined]
        return http

    return make


async def respond(http: Any, input: Any = "Hi", headers: Any = None, **fields: Any) -> dict[str, Any]:
    reply = await http.post(URL, json={"input": input, "stream": True, **fields}, headers=headers)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = assemble(parse(reply.text))
    return found


async def test_tools_are_listed_and_called(make: Any) -> None:
    http = make(calls(("box__echo", {})), "It said echo.")
    found = await respond(http, tools=[{**ENTRY, "allowed_tools": ["echo", "die"]}])
    listed, call, message = found["output"]
    assert (listed["type"], [tool["name"] for tool in listed["tools"]]) == ("mcp_list_tools", ["echo", "die"])
    assert (call["type"], call["server_label"], call["name"], call["output"]) == ("mcp_call", "box", "echo", "echo")
    assert message["content"][0]["text"] == "It said echo."


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ("die", "ended with exit status 7 during the call"),
        ("no-json", "did not answer within 2 s"),
        ("huge-line", "sent a message of more than"),
        ("garble", "no message of MCP"),
        ("wrong-result", "no result of a tool"),
    ],
)
async def test_what_a_server_does_wrong_is_an_item(make: Any, tool: str, message: str) -> None:
    http = make(calls((f"box__{tool}", {})), "It failed.")
    found = await respond(http, tools=[ENTRY])
    call = found["output"][1]
    assert found["status"] == "completed"
    assert (call["status"], call["output"]) == ("failed", None)
    assert message in call["error"]["content"][0]["text"]
    assert found["output"][2]["content"][0]["text"] == "It failed."
    assert http.generator.num_holds == 0


async def test_the_operators_wish_for_approval_counts(make: Any) -> None:
    http = make(calls(("box__spawn", {})))
    found = await respond(http, tools=[{**ENTRY, "require_approval": "never"}])
    assert [item["type"] for item in found["output"]] == ["mcp_list_tools", "mcp_approval_request"]
    assert found["output"][1]["name"] == "spawn"


async def test_a_server_that_is_down_is_an_item_and_the_answer_goes_on(make: Any, servers: McpServers) -> None:
    async with asyncio.timeout(60):
        while servers.by_name["down"].state != "waiting":
            await asyncio.sleep(0.01)
    found = await respond(make("Without it."), tools=[{"type": "mcp", "server_label": "down"}])
    listed, message = found["output"]
    assert (listed["type"], listed["tools"]) == ("mcp_list_tools", [])
    assert "exit status 1" in str(listed["error"])
    assert message["content"][0]["text"] == "Without it."


async def test_a_key_for_some_tools_sees_those(make: Any, fakes: Any) -> None:
    keys = fakes.MemoryKeys()
    headers = {"Authorization": f"Bearer {keys.add(tools=('box__grow',))}"}
    found = await respond(make("Hi.", keys=keys), headers=headers, tools=[ENTRY])
    assert [tool["name"] for tool in found["output"][0]["tools"]] == ["grow"]


@pytest.mark.parametrize(
    ("entry", "param"),
    [
        ({"server_url": "https://mcp.example.org/mcp"}, "tools[0].server_url"),
        ({"server_url": "https://127.0.0.1/mcp"}, "tools[0].server_url"),
        ({"server_label": "gone"}, "tools[0].server_label"),
        ({"connector_id": "connector_gmail"}, "tools[0].connector_id"),
    ],
)
async def test_what_is_not_allowed_is_refused_by_name(make: Any, entry: dict[str, Any], param: str) -> None:
    reply = await make("x").post(URL, json={"input": "Hi", "tools": [{**ENTRY, **entry}]})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param
