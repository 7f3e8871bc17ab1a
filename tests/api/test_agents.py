"""Tools that the server runs, through /v1/responses: skills and plugins' tools, their limits, their failures."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from agent_fakes import add_tools, calls, turns
from response_events import assemble, parse, without_ids

from llmos_server import ChoiceFilter, EndAnswer, ResponseFilter, Tool, hookimpl
from llmos_server.access.gate import Gate
from llmos_server.agents.tool import ServerTool, ToolOutput
from llmos_server.agents.tool_source import SourceFailed
from llmos_server.api.services import STATE_KEY
from llmos_server.plugins.host import PluginHost
from llmos_server.plugins.sources import Candidate
from llmos_server.settings import PluginsSettings

URL = "/v1/responses"
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}


def plugin_tool(name: str, **fields: Any) -> dict[str, Any]:
    return {"type": "plugin_tool", "name": name, **fields}


SHOUT = {"type": "skill", "name": "shout"}


@pytest.fixture
def make_agent(make_api: Any, fakes: Any) -> Callable[..., Any]:
    def make(*answers: str, **options: Any) -> Any:
        return make_api(
            turns(*answers),
            renderer=fakes.ByteRenderer(template="<tool_call></tool_call></think>"),
            max_model_len=20000,
            plugins=add_tools(fakes.create_skills()),
            **options,
        )

    return make


async def respond(api: Any, input: Any = "Hi", headers: Any = None, **fields: Any) -> dict[str, Any]:
    """Streamed; the events are checked."""
    reply = await api.post(URL, {"input": input, "stream": True, **fields}, headers=headers)
    assert reply.status_code == 200, reply.text
    return assemble(parse(reply.text))


async def test_a_tool_is_run_and_the_model_asked_again(make_agent):
    answers = [calls(("add", {"a": 2, "b": 3}), text="<think>hm</think>Let me add."), "It is 5."]
    found = await respond(make_agent(*answers), tools=[plugin_tool("add")])
    assert [item["type"] for item in found["output"]] == ["reasoning", "message", "mcp_call", "message"]
    call = found["output"][2]
    assert (call["name"], call["server_label"], call["status"]) == ("add", "plugin:sums", "completed")
    assert (call["output"], call["error"], json.loads(call["arguments"])) == ('{"sum":5}', None, {"a": 2, "b": 3})
    assert found["output"][3]["content"][0]["text"] == "It is 5."
    api = make_agent(*answers)
    whole = (await api.post(URL, {"input": "Hi", "tools": [plugin_tool("add")]})).json()
    assert without_ids(found) == without_ids(whole)
    first, second = api.generator.requests
    assert whole["usage"]["input_tokens"] == len(first.prompt_ids) + len(second.prompt_ids)
    assert '{"sum":5}' in api.renderer.decode(second.prompt_ids)
    assert api.generator.num_holds == 0


async def test_what_was_run_can_be_sent_back(make_agent):
    api = make_agent(calls(("add", {"a": 2})), "It is 3.", "Yes.")
    found = await respond(api, tools=[plugin_tool("add")])
    await respond(api, [{"role": "user", "content": "Hi"}, *found["output"], {"role": "user", "content": "Sure?"}])
    again = api.renderer.decode(api.generator.requests[2].prompt_ids)
    assert '{"sum":3}' in again
    assert "'name': 'add'" in again


async def test_a_skill_is_a_tool(make_agent):
    api = make_agent(calls(("shout", {"text": "hey"})), "quiet", "Done.")
    found = await respond(api, tools=[SHOUT])
    call = found["output"][0]
    assert (call["server_label"], call["name"], call["output"]) == ("skills", "shout", "QUIET")
    assert [item["type"] for item in found["output"]] == ["mcp_call", "message"]
    assert "user:hey" in api.renderer.decode(api.generator.requests[1].prompt_ids)


async def test_functions_of_the_client_stay_the_clients(make_agent):
    answer = calls(("add", {"a": 1}), ("w", {"city": "Rome"}))
    api = make_agent(answer, "Sunny and 2.")
    weather = {"type": "function", "name": "w", "parameters": CITY}
    tools = [plugin_tool("add"), weather]
    found = await respond(api, tools=tools)
    assert [(item["type"], item["status"]) for item in found["output"]] == [
        ("mcp_call", "completed"),
        ("function_call", "completed"),
    ]
    result = {"type": "function_call_output", "call_id": found["output"][1]["call_id"], "output": "sunny"}
    await respond(api, [{"role": "user", "content": "Hi"}, *found["output"], result], tools=tools)
    text = api.renderer.decode(api.generator.requests[1].prompt_ids, skip_special_tokens=False)
    roles = [part.partition(":")[0] for part in text.split("<turn>")[1:] if not part.startswith("tool:{'type'")]
    assert roles == ["user", "assistant", "tool", "tool", "assistant"]


@pytest.mark.parametrize("name", ["fail", "hang", "block", "recurse", "exit", "odd"])
async def test_a_tool_that_fails_is_an_item_with_an_error(make_agent, name):
    api = make_agent(calls((name, {"a": 1})), "It failed.")
    found = await respond(api, tools=[plugin_tool(name)])
    assert found["status"] == "completed"
    call = found["output"][0]
    assert (call["status"], call["output"], call["error"]["type"]) == ("failed", None, "mcp_tool_execution_error")
    [told] = call["error"]["content"]
    assert f"The tool {name} of the plugin sums" in told["text"]
    assert "secret" not in told["text"]
    assert told["text"] in api.renderer.decode(api.generator.requests[1].prompt_ids)
    assert api.generator.num_holds == 0


async def test_arguments_that_break_the_schema_never_reach_the_tool(make_agent):
    api = make_agent(calls(("add", {"a": -1})), calls(("add", {"a": "x"})), calls(("add", {"c": 1})), "No.")
    found = await respond(api, tools=[plugin_tool("add")])
    assert [item.get("status") for item in found["output"]] == ["failed", "failed", "failed", "completed"]
    for item in found["output"][:3]:
        assert "The arguments don't fit" in item["error"]["content"][0]["text"]


async def test_approvals(make_agent):
    api = make_agent(calls(("pay", {"a": 7})), "Paid.")
    tools = [plugin_tool("pay")]
    found = await respond(api, tools=tools)
    [asked] = found["output"]
    assert (asked["type"], asked["name"], found["status"]) == ("mcp_approval_request", "pay", "completed")
    history = [{"role": "user", "content": "Pay 7"}, asked]
    answer = {"type": "mcp_approval_response", "approval_request_id": asked["id"], "approve": True}
    found = await respond(api, [*history, answer], tools=tools)
    call, message = found["output"]
    assert (call["approval_request_id"], call["output"], call["status"]) == (asked["id"], '{"sum":8}', "completed")
    assert message["content"][0]["text"] == "Paid."
    later = [*history, answer, *found["output"], {"role": "user", "content": "Thanks"}]
    assert [item["type"] for item in (await respond(api, later, tools=tools))["output"]] == ["message"]
    declined = {**answer, "approve": False, "reason": "Too dear."}
    found = await respond(api, [*history, declined], tools=tools)
    assert [item["type"] for item in found["output"]] == ["message"]
    assert "was declined, so it was not run. Too dear." in api.renderer.decode(api.generator.requests[-1].prompt_ids)


async def test_an_approval_that_was_tampered_with_is_checked_again(make_agent):
    api = make_agent("Paid.")
    asked = {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "plugin:sums", "name": "pay"}
    answer = {"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}
    for arguments in ('{"a": "x"}', "nonsense", "[]"):
        items = [{**asked, "arguments": arguments}, answer]
        assert (await respond(api, items, tools=[plugin_tool("pay")]))["output"][0]["status"] == "failed"
    [call, _] = (await respond(api, [{**asked, "arguments": '{"a": 1}'}, answer]))["output"]
    assert "no such tool" in call["error"]["content"][0]["text"]


async def test_approval_can_be_asked_for_and_left_out(make_agent):
    api = make_agent(calls(("add", {"a": 1})), "Two.")
    found = await respond(api, tools=[plugin_tool("add", require_approval="always")])
    assert found["output"][0]["type"] == "mcp_approval_request"
    api = make_agent(calls(("pay", {"a": 1})), "Two.")
    found = await respond(api, tools=[plugin_tool("pay", require_approval="never")])
    assert found["output"][0]["type"] == "mcp_call"


async def test_a_forced_choice_holds_for_the_first_turn_only(make_agent):
    api = make_agent(calls(("add", {"a": 1})), "Two.")
    found = await respond(api, tools=[plugin_tool("add"), SHOUT], tool_choice={"type": "plugin_tool", "name": "add"})
    assert [item["type"] for item in found["output"]] == ["mcp_call", "message"]
    first, second = (request.sampling.grammar for request in api.generator.requests)
    assert "shout" not in first
    assert "shout" in second


async def test_limits_of_turns_calls_and_tokens(make_agent):
    again = calls(("add", {"a": 1}))
    api = make_agent(again)
    found = await respond(api, tools=[plugin_tool("add")], max_tool_calls=2)
    assert [item["type"] for item in found["output"]] == ["mcp_call", "mcp_call", "message"]
    assert not api.generator.requests[2].sampling.grammar
    api = make_agent(again)
    found = await respond(api, tools=[plugin_tool("add")], max_output_tokens=3 * len(again) - 5)
    assert found["status"] == "incomplete"
    assert [item["status"] for item in found["output"]] == ["completed", "completed", "incomplete"]


async def test_names_that_clash_are_told_apart(make_agent):
    api = make_agent(calls(("plugin_sums.add", {"a": 1})), "Two.")
    found = await respond(api, tools=[plugin_tool("add"), {"type": "function", "name": "add", "parameters": CITY}])
    assert (found["output"][0]["type"], found["output"][0]["name"]) == ("mcp_call", "add")


async def test_what_is_not_there_is_refused(make_agent):
    api = make_agent("Hi")
    for tool, param in (
        (plugin_tool("nope"), "tools[0].name"),
        ({"type": "skill", "name": "nope"}, "tools[0].name"),
        ({"type": "skill"}, "tools[0].name"),
        (plugin_tool("add", require_approval="maybe"), "tools[0].require_approval"),
    ):
        reply = await api.post(URL, {"input": "Hi", "tools": [tool]})
        assert reply.status_code in (400, 404)
        assert reply.json()["error"]["param"] == param
    reply = await api.post(URL, {"input": "Hi", "tools": [plugin_tool("nope")]})
    assert "add, fail" in reply.json()["error"]["message"]


async def test_keys_lists_limit_what_is_run(make_agent, fakes):
    keys = fakes.MemoryKeys()
    key = keys.add(tools=("add",), skills=())
    api = make_agent("Hi", gate=Gate(keys))
    headers = {"Authorization": f"Bearer {key}"}
    for tool, code in ((plugin_tool("pay"), "tool_not_allowed"), (SHOUT, "skill_not_allowed")):
        reply = await api.post(URL, {"input": "Hi", "tools": [tool]}, headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, code)
    await respond(api, tools=[plugin_tool("add")], headers=headers)


async def test_calls_are_counted(make_agent):
    api = make_agent(calls(("add", {"a": 1}), ("fail", {"a": 1})), calls(("shout", {"text": "a"})), "q", "Done.")
    await respond(api, tools=[plugin_tool("add"), plugin_tool("fail"), SHOUT])
    found = (await api.http.get("/metrics")).text
    for source, result in (("plugin", "completed"), ("plugin", "failed"), ("skill", "completed")):
        assert f'llmos:tool_calls_total{{result="{result}",source="{source}"}} 1.0' in found


async def test_plugins_tools_are_listed(make_agent, fakes):
    keys = fakes.MemoryKeys()
    headers = {"Authorization": f"Bearer {keys.add(tools=('add', 'pay'))}"}
    found = (await make_agent("Hi", gate=Gate(keys)).http.get("/v1/llmos/tools", headers=headers)).json()["data"]
    assert [(tool["name"], tool["plugin"], tool["needs_approval"]) for tool in found] == [
        ("add", "sums", False),
        ("pay", "sums", True),
    ]
    assert found[0]["parameters"]["properties"]["a"] == {"type": "integer", "minimum": 0}


async def test_a_request_has_one_place_however_much_it_runs(make_agent, fakes):
    keys = fakes.MemoryKeys()
    key = keys.add(max_in_flight=1)
    api = make_agent(calls(("shout", {"text": "a"}), ("shout", {"text": "b"})), "q", "q", "Done.", gate=Gate(keys))
    for _ in range(2):
        found = await respond(api, tools=[SHOUT], headers={"Authorization": f"Bearer {key}"})
        assert [item["status"] for item in found["output"]][:1] == ["completed"]


async def test_a_failure_after_a_tool_was_run_shows_what_was(make_agent):
    api = make_agent(calls(("add", {"a": 1})), "x" * 50)
    script = api.generator.script

    def fail_in_the_second(request: Any, index: int) -> Any:
        if len(api.generator.requests) == 2:
            raise RuntimeError("no")
        return script(request, index)

    api.generator.script = fail_in_the_second
    reply = await api.post(URL, {"input": "Hi", "tools": [plugin_tool("add")]})
    assert reply.status_code == 200
    found = reply.json()
    assert (found["status"], found["error"]["code"]) == ("failed", "server_error")
    assert found["output"][0]["output"] == '{"sum":2}'


async def test_a_client_that_leaves_ends_tools_and_frees_its_place(make_agent, fakes):
    keys = fakes.MemoryKeys()
    headers = {"Authorization": f"Bearer {keys.add(max_in_flight=1)}"}
    api = make_agent(calls(("hang", {"a": 1})), "Hi", gate=Gate(keys))
    body = {"input": "Hi", "tools": [plugin_tool("hang")]}
    task = asyncio.ensure_future(api.post(URL, body, headers=headers))
    await asyncio.sleep(0.1)
    assert (await api.post(URL, {"input": "Hi"}, headers=headers)).status_code == 429
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for _ in range(100):
        reply = await api.post(URL, {"input": "Hi"}, headers=headers)
        if reply.status_code == 200:
            break
        await asyncio.sleep(0.02)
    assert reply.status_code == 200


async def test_the_stock_sdk_reads_it(make_agent):
    api = make_agent(calls(("add", {"a": 1})), "Two.")
    client = openai.AsyncOpenAI(base_url="http://127.0.0.1:8000/v1", api_key="a", http_client=api.http, max_retries=0)
    tools: Any = [plugin_tool("add")]
    async with client.responses.stream(model="tiny", input="Hi", tools=tools) as stream:
        final = await stream.get_final_response()
    assert final.output_text == "Two."
    assert final.output[0].type == "mcp_call"
    assert final.output[0].output == '{"sum":2}'


class FakeServer:
    """A provider and its sources: an MCP server with the tool echo, or one that is away."""

    is_listed = True

    def __init__(self) -> None:
        self.label = ""
        self.num_closed = 0

    def open(self, entry: dict[str, Any], **_: Any) -> Any:
        self.label = entry["server_label"]
        return self

    async def list_tools(self) -> list[ServerTool]:
        if self.label == "away":
            raise SourceFailed("The MCP server away can't be reached.")
        given: dict[str, Any] = {"description": "Says it again.", "timeout_seconds": 5.0, "run": self._echo}
        schema = {"type": "object", "properties": {"text": {"type": "string"}}}
        good = ServerTool(name="s__echo", own_name="echo", source="mcp s", label=self.label, parameters=schema, **given)
        broken = dataclasses.replace(good, name="s__bad", own_name="bad", parameters={"type": 5})
        return [good, broken]

    async def close(self) -> None:
        self.num_closed += 1

    async def _echo(self, arguments: dict[str, Any]) -> ToolOutput:
        return ToolOutput(text=arguments["text"])


async def test_tools_of_a_server_are_listed_and_called(make_agent):
    server = FakeServer()
    api = make_agent(calls(("s__echo", {"text": "hey"})), "It said hey.", tool_providers={"mcp": server})
    entry = {"type": "mcp", "server_label": "s", "server_url": "https://x.org", "authorization": "secret"}
    found = await respond(api, tools=[{**entry, "headers": {"a": "secret"}}])
    listing, call, _ = found["output"]
    assert (listing["type"], listing["server_label"], listing["error"]) == ("mcp_list_tools", "s", None)
    assert [tool["name"] for tool in listing["tools"]] == ["echo"]  # The one with a broken schema is left out.
    assert (call["name"], call["server_label"], call["output"]) == ("echo", "s", "hey")
    assert "secret" not in json.dumps(found)
    assert server.num_closed
    history = [{"role": "user", "content": "Hi"}, *found["output"], {"role": "user", "content": "?"}]
    await respond(api, history, tools=[entry])
    text = api.renderer.decode(api.generator.requests[-1].prompt_ids)
    assert text.count("s__echo") == 2  # The tool and the call have the name that the model knows.
    choice = {"type": "mcp", "server_label": "s", "name": "echo"}
    assert (await respond(api, tools=[entry], tool_choice=choice))["tool_choice"] == choice


async def test_a_server_that_is_away_is_told_and_the_answer_goes_on(make_agent):
    api = make_agent("Hello", tool_providers={"mcp": FakeServer()})
    found = await respond(api, tools=[{"type": "mcp", "server_label": "away"}])
    listing, message = found["output"]
    assert (listing["tools"], listing["error"]) == ([], "The MCP server away can't be reached.")
    assert message["content"][0]["text"] == "Hello"


async def test_an_answer_that_a_filter_ends(make_agent, fakes):
    class Stop(ChoiceFilter):
        def feed(self, text: str) -> str:
            if "no" in text:
                raise EndAnswer("Enough.")
            return text

    class Guard(ResponseFilter):
        name = "stop"

        def open(self, request: Any, part: Any) -> ChoiceFilter:
            return Stop()

    class Plugin:
        hook_api = "1.0"

        @hookimpl
        def register_response_filters(self) -> list[Any]:
            return [Guard()]

    api = make_agent("no")
    api.app.state[STATE_KEY].plugins.add(Candidate(name="guard", source="built-in", load=Plugin), {})
    api.generator.tokens_per_step = 2
    found = await respond(api)
    assert (found["status"], found["incomplete_details"]) == ("incomplete", {"reason": "content_filter"})
    assert found["output"][0]["content"][0]["text"] == "Enough."


async def test_bodies_conform_to_openais_document(make_agent, conforms):
    tools = [plugin_tool("add"), plugin_tool("pay"), SHOUT, plugin_tool("fail")]
    answer = calls(("add", {"a": 1}), ("pay", {"a": 2}), ("shout", {"text": "a"}), ("fail", {"a": 1}))
    for choice in ("auto", {"type": "plugin_tool", "name": "add"}):
        body = {"input": "Hi", "tools": tools, "tool_choice": choice}
        found = (await make_agent(answer, "q").post(URL, body)).json()
        conforms(found, "Response")
        assert len(found["output"]) == 4
        for event in parse((await make_agent(answer, "q").post(URL, {**body, "stream": True})).text):
            conforms(event, "ResponseStreamEvent")


def test_a_tool_that_cannot_be_offered_keeps_its_plugin_out(fakes: Any) -> None:
    class Bad:
        hook_api = "1.0"

        @hookimpl
        def register_tools(self) -> list[Tool]:
            return [Tool(name="a b", description="d", input_type=int, run=print)]  # type: ignore[arg-type]

    host = PluginHost(PluginsSettings())
    host.add(Candidate(name="bad", source="built-in", load=Bad), {})
    assert "letters, digits" in host.plugins["bad"].reason
