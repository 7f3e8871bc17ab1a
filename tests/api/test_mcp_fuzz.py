"""Whatever is sent to /mcp, the answer is no failure of the server's, and nothing is left running."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
METHODS = st.sampled_from(
    [
        "initialize",
        "ping",
        "tools/list",
        "tools/call",
        "resources/list",
        "resources/read",
        "server/discover",
        "subscriptions/listen",
        "notifications/cancelled",
        "prompts/list",
        "logging/setLevel",
        "",
    ]
)
META = st.fixed_dictionaries(
    {},
    optional={
        "io.modelcontextprotocol/protocolVersion": st.sampled_from(["2026-07-28", "2025-06-18", "x"]) | JSON,
        "io.modelcontextprotocol/clientCapabilities": st.just({}) | JSON,
        "progressToken": JSON,
    },
)
PARAMS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["shout", "none"]) | JSON,
        "arguments": st.fixed_dictionaries({}, optional={"text": JSON, "times": JSON, "model": JSON}) | JSON,
        "uri": st.sampled_from(["llmos://models"]) | JSON,
        "cursor": JSON,
        "_meta": META | JSON,
        "protocolVersion": JSON,
    },
)
MESSAGES = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | JSON, "method": METHODS | JSON},
    optional={"id": st.integers() | st.text(max_size=5) | JSON, "params": PARAMS | JSON, "result": JSON},
)
HEADERS = st.fixed_dictionaries(
    {"Accept": st.sampled_from(["application/json, text/event-stream", "*/*", "application/json"])},
    optional={
        "MCP-Protocol-Version": st.sampled_from(["2026-07-28", "2025-11-25", "2025-06-18", "1.0", "??"]),
        "Mcp-Method": st.sampled_from(["tools/call", "tools/list"]),
        "Mcp-Name": st.sampled_from(["shout", "none"]),
        "Mcp-Session-Id": st.sampled_from(["abc", "0" * 300]),
        "Last-Event-Id": st.just("5"),
    },
)


SECONDS = 20
"""No answer takes nearly as long; a hang does."""


async def check(api: Any, message: Any, headers: dict[str, str]) -> None:
    content = json.dumps(message)
    async with asyncio.timeout(SECONDS):
        answer = await api.http.post("/mcp", content=content, headers={"Content-Type": "application/json", **headers})
    assert answer.status_code < 500, (content, headers, answer.text)
    assert '"code":-32603' not in answer.text.replace(" ", ""), (content, headers, answer.text)
    assert api.generator.num_holds == 0


def test_no_message_makes_the_server_fail(make_api: Any, fakes: Any) -> None:
    api = make_api(plugins=fakes.create_skills())
    runner = asyncio.Runner()

    @settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @seed(1)
    @given(message=MESSAGES, headers=HEADERS)
    def run(message: Any, headers: dict[str, str]) -> None:
        runner.run(check(api, message, headers))

    with runner:
        run()
