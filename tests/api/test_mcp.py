"""/mcp with the official SDK's client: skills as tools under the caller's key, progress, errors, the model list."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import msgspec
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from llmos_server import Skill, SkillContext, hookimpl
from llmos_server.access.gate import Gate
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate

MODES = ["auto", "legacy"]
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


class CountInput(msgspec.Struct):
    text: str


class CountOutput(msgspec.Struct):
    result: list[str]
    num_words: int


class Count(Skill[CountInput, CountOutput]):
    """Tells how far it is; fails where it is asked to."""

    name = "count"
    version = "3"
    description = "Counts words."
    input_type = CountInput
    output_type = CountOutput

    async def run(self, input: CountInput, context: SkillContext) -> CountOutput:
        words = input.text.split()
        for number, word in enumerate(words):
            context.progress(number, len(words), word)
            await context.count_tokens(word)
        if input.text == "fail":
            raise RuntimeError("secret of the plugin's")
        return CountOutput(result=words, num_words=len(words))


class CountPlugin:
    hook_api = "1.0"

    @hookimpl
    def register_skills(self) -> list[Any]:
        return [Count()]


@pytest.fixture
def plugins(fakes: Any) -> PluginHost:
    host: PluginHost = fakes.create_skills()
    host.add(Candidate(name="counting", source="built-in", load=CountPlugin), {})
    return host


@pytest.fixture
def keys(fakes: Any) -> Any:
    return fakes.MemoryKeys()


@pytest.fixture
def mcp_api(make_api: Callable[..., Any], plugins: PluginHost, keys: Any) -> Any:
    return make_api("hi there", plugins=plugins, gate=Gate(keys, admin_token="t" * 40))


@pytest.fixture
def connect(mcp_api: Any) -> Callable[..., Client]:
    """connect(key, mode): the SDK's client, over this process's app."""

    def connect(key: str = "", mode: str = "auto") -> Client:
        transport = httpx2.ASGITransport(app=mcp_api.app)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        http = httpx2.AsyncClient(transport=transport, headers=headers, timeout=60)
        return Client(streamable_http_client("http://127.0.0.1:8000/mcp", http_client=http), mode=mode, cache=None)

    return connect


@pytest.mark.parametrize("mode", MODES)
async def test_skills_are_tools(connect: Callable[..., Client], mcp_api: Any, mode: str) -> None:
    async with connect(mode=mode) as client:
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == ("llmos", "1.2.3")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["shout", "count"]
        shout = tools["shout"]
        assert shout.description == "Answers in capitals."
        assert shout.input_schema["required"] == ["text"]
        assert shout.input_schema["properties"].keys() == {"text", "words", "times", "model"}
        assert shout.output_schema is not None

        result = await client.call_tool("shout", {"text": "say hi", "times": 2})
        assert not result.is_error
        assert result.content[0].text == "HI THHI TH"  # type: ignore[union-attr]
        assert result.structured_content == {"result": "HI THHI TH"}
        assert result.meta is not None
        about = result.meta["llmos/run"]
        assert (about["skill"], about["model"], about["usage"]["completion_tokens"]) == ("shout", "tiny", 5)
    assert mcp_api.generator.num_holds == 0


@pytest.mark.parametrize("mode", MODES)
async def test_progress_and_structured_results(connect: Callable[..., Client], mode: str) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def tell(done: float, total: float | None, note: str | None) -> None:
        told.append((done, total, note))

    async with connect(mode=mode) as client:
        result = await client.call_tool("count", {"text": "one two"}, progress_callback=tell)
    assert result.structured_content == {"result": ["one", "two"], "num_words": 2}
    assert json.loads(result.content[0].text) == result.structured_content  # type: ignore[union-attr]
    assert told
    assert set(told) <= {(0, 2, "one"), (1, 2, "two")}


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("shout", {}, "text is missing"),
        ("shout", {"text": "x", "times": 9}, "times"),
        ("shout", {"text": "x", "tmies": 2}, "tmies: the skill shout has no such field; it takes text, words, times"),
        ("shout", {"text": "x", "model": "none"}, "none"),
        ("shout", {"text": "x", "model": 3}, "model: it is the name of a model"),
        ("count", {"text": "fail"}, r"The skill count of the plugin counting failed \(RuntimeError\)"),
    ],
)
async def test_what_goes_wrong_is_told_to_the_model(
    connect: Callable[..., Client], tool: str, arguments: dict[str, Any], message: str
) -> None:
    async with connect() as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert result.structured_content is None
    with pytest.raises(ValueError, match=message):
        raise ValueError(result.content[0].text)  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", MODES)
async def test_a_key_sees_and_runs_its_own_skills(connect: Callable[..., Client], keys: Any, mode: str) -> None:
    some = keys.add(skills=("count",))
    async with connect(some, mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["count"]
        with pytest.raises(MCPError, match="This key may not run the skill 'shout'"):
            await client.call_tool("shout", {"text": "x"})
        with pytest.raises(MCPError, match=r"There is no skill 'nothing' here\. Skills: count"):
            await client.call_tool("nothing", {})


async def test_a_wrong_key_is_refused(connect: Callable[..., Client], mcp_api: Any, keys: Any) -> None:
    keys.add()
    answer = await mcp_api.post("/mcp", INITIALIZE, headers={**ACCEPT, "Authorization": "Bearer sk-wrong"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    body = answer.json()
    assert (body["jsonrpc"], body["id"], body["error"]["code"]) == ("2.0", None, -32600)
    with pytest.RaisesGroup(pytest.RaisesExc(MCPError, match="sk-"), flatten_subgroups=True):
        async with connect("sk-wrong"):
            pass


@pytest.mark.parametrize("mode", MODES)
async def test_the_model_list_is_for_administrators(connect: Callable[..., Client], keys: Any, mode: str) -> None:
    async with connect(keys.add(is_admin=True), mode) as client:
        assert [str(found.uri) for found in (await client.list_resources()).resources] == ["llmos://models"]
        text = (await client.read_resource("llmos://models")).contents[0].text  # type: ignore[union-attr]
        assert json.loads(text)["data"][0]["id"] == "tiny"
    async with connect(keys.add(), mode) as client:
        assert (await client.list_resources()).resources == []
        with pytest.raises(MCPError, match="There is no resource llmos://models for this key"):
            await client.read_resource("llmos://models")


async def test_a_call_counts_against_the_keys_limits(connect: Callable[..., Client], keys: Any) -> None:
    async with connect(keys.add(tokens_per_minute=1)) as client:
        first = await client.call_tool("shout", {"text": "x"})
        second = await client.call_tool("shout", {"text": "x"})
    assert not first.is_error
    assert second.is_error
    assert "tokens" in second.content[0].text  # type: ignore[union-attr]


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_there_are_no_sessions_to_read_or_end(mcp_api: Any, method: str) -> None:
    answer = await mcp_api.http.request(method, "/mcp", headers=ACCEPT)
    assert answer.status_code == 405
    assert "POST" in answer.headers["allow"]


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (json.dumps([INITIALIZE]).encode(), {}, 400),
        (json.dumps(INITIALIZE).encode(), {"Content-Type": "text/plain"}, 415),
        (json.dumps(INITIALIZE).encode(), {"Accept": "text/html"}, 406),
        (json.dumps({**INITIALIZE, "method": 5}).encode(), {}, 400),
        (json.dumps(INITIALIZE).encode(), {"Origin": "https://evil.example"}, 403),
        (json.dumps(INITIALIZE).encode(), {"Host": "evil.example"}, 421),
        (b"[" * 100_000, {}, 400),
        (b'{"a": "' + b"x" * 3000 + b'"}', {}, 413),
    ],
)
async def test_what_is_no_message_is_refused(
    make_api: Callable[..., Any], content: bytes, headers: dict[str, str], status: int
) -> None:
    api = make_api(settings={"max_body_bytes": 150_000 if content.startswith(b"[[") else 2000})
    answer = await api.http.post(
        "/mcp", content=content, headers={"Content-Type": "application/json", **ACCEPT, **headers}
    )
    assert answer.status_code == status, answer.text
    assert "error" in answer.json()


async def test_a_notification_is_accepted(mcp_api: Any) -> None:
    body = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert (await mcp_api.post("/mcp", body, headers=ACCEPT)).status_code == 202
