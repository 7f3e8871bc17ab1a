"""/v1/responses without state and without tools of the server's: what reaches the engine, and what comes back."""

from __future__ import annotations

import asyncio
import json
from types import ModuleType
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from response_events import assemble, parse, without_ids

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ROME = '{"city": "Rome"}'
CALL = f'<tool_call>\n{{"name": "w", "arguments": {ROME}}}\n</tool_call>'
WEATHER = {"type": "function", "name": "w", "parameters": CITY}
URL = "/v1/responses"


async def respond(api: Any, input: Any = "Hi", **fields: Any) -> dict[str, Any]:
    reply = await api.post(URL, {"model": "tiny", "input": input, **fields})
    assert reply.status_code == 200, reply.text
    return reply.json()


async def refuse(api: Any, input: Any = "Hi", **fields: Any) -> dict[str, Any]:
    reply = await api.post(URL, {"model": "tiny", "input": input, **fields})
    assert reply.status_code == 400, reply.text
    return reply.json()["error"]


def prompt_of(api: Any, place: int = -1) -> str:
    return api.renderer.decode(api.generator.requests[place].prompt_ids, skip_special_tokens=False)


@pytest.fixture
def tool_api(make_api: Any, fakes: ModuleType) -> Any:
    return make_api("So." + CALL, renderer=fakes.ByteRenderer(template="<tool_call></tool_call>"), max_model_len=4000)


async def test_a_plain_answer(api):
    found = await respond(api, instructions="Be brief.", temperature=0.5, metadata={"a": "b"}, user="u")
    [message] = found["output"]
    assert message["content"] == [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}]
    assert (message["type"], message["role"], message["status"]) == ("message", "assistant", "completed")
    assert (found["object"], found["status"], found["model"]) == ("response", "completed", "tiny")
    assert (found["instructions"], found["temperature"], found["metadata"]) == ("Be brief.", 0.5, {"a": "b"})
    assert found["usage"]["output_tokens"] == 5
    assert found["usage"]["total_tokens"] == found["usage"]["input_tokens"] + 5
    assert prompt_of(api) == "<turn>system:Be brief.\n<turn>user:Hi\n<turn>assistant:"


async def test_items_become_a_chat(tool_api):
    items = [
        {"role": "developer", "content": "Rules"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "A"}], "id": "msg_1"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]},
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_2",
            "status": "completed",
            "content": [{"type": "output_text", "text": "B", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "w", "arguments": ROME, "status": "completed"},
        {"type": "function_call", "call_id": "c2", "name": "f", "namespace": "n", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "ok"}]},
        {"role": "user", "content": "C"},
    ]
    await respond(tool_api, items)
    roles = [part.partition(":")[0] for part in prompt_of(tool_api).split("<turn>")[1:]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "user", "assistant"]
    assert "'name': 'n.f'" in prompt_of(tool_api)
    assert "sunny" in prompt_of(tool_api)


async def test_function_calls(tool_api):
    found = await respond(tool_api, tools=[WEATHER])
    message, call = found["output"]
    assert message["content"][0]["text"] == "So."
    assert (call["type"], call["name"], call["arguments"], call["status"]) == ("function_call", "w", ROME, "completed")
    assert found["tools"] == [{**WEATHER, "description": None, "strict": False}]
    again = [{"role": "user", "content": "Hi"}, message, call]
    again.append({"type": "function_call_output", "call_id": call["call_id"], "output": "hot"})
    await respond(tool_api, again, tools=[WEATHER])
    assert "hot" in prompt_of(tool_api)


async def test_functions_in_a_namespace_are_called_by_both_names(make_api, fakes):
    call = '<tool_call>\n{"name": "n.w", "arguments": {}}\n</tool_call>'
    api = make_api(call, renderer=fakes.ByteRenderer(template="<tool_call></tool_call>"), max_model_len=4000)
    tools = [{"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "w"}]}]
    [item] = (await respond(api, tools=tools))["output"]
    assert (item["namespace"], item["name"]) == ("n", "w")


FORCED = [
    "required",
    {"type": "function", "name": "w"},
    {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "w"}]},
]


@pytest.mark.parametrize("choice", FORCED)
async def test_tool_choice(tool_api, choice):
    found = await respond(tool_api, tools=[WEATHER, {"type": "function", "name": "v"}], tool_choice=choice)
    assert found["tool_choice"] == choice
    grammar = tool_api.generator.requests[0].sampling.grammar
    assert '"city"' in grammar
    assert ('\\"v\\"' in grammar) == (choice == "required")
    await respond(tool_api, tools=[WEATHER], tool_choice="none")
    assert not tool_api.generator.requests[1].sampling.grammar


async def test_text_format(api):
    form = {"type": "json_schema", "name": "city", "schema": CITY, "strict": True}
    found = await respond(api, text={"format": form, "verbosity": "low"})
    assert found["text"] == {"format": form}
    assert '"city"' in api.generator.requests[0].sampling.grammar
    assert await respond(api, text={"format": {"type": "json_object"}})
    error = await refuse(api, text={"format": {"type": "json_schema", "name": "x", "schema": {"type": 5}}})
    assert error["param"].startswith("text.format.schema")
    assert (await refuse(api, text={"format": {"type": "xml"}}))["param"] == "text.format.type"


async def test_answers_that_are_cut_are_incomplete(api, tool_api):
    found = await respond(api, max_output_tokens=2)
    assert found["status"] == "incomplete"
    assert found["incomplete_details"] == {"reason": "max_output_tokens"}
    assert (found["output"][0]["status"], found["output"][0]["content"][0]["text"]) == ("incomplete", "He")
    assert found["completed_at"] is None
    found = await respond(tool_api, tools=[WEATHER], max_output_tokens=50)
    assert [item["status"] for item in found["output"]] == ["completed", "incomplete"]


async def test_truncation(make_api):
    api = make_api(max_model_len=60)
    long = [
        {"role": "user", "content": "x" * 50},
        {"role": "assistant", "content": "y"},
        {"role": "user", "content": "z"},
    ]
    error = await refuse(api, long)
    assert (error["param"], error["code"]) == ("input", "context_length_exceeded")
    assert '"truncation": "auto"' in error["message"]
    reply = await api.post(URL, {"model": "tiny", "input": long, "truncation": "auto"})
    assert reply.json()["truncation"] == "auto"
    assert reply.headers["X-LLMOS-Dropped-Messages"] == str(reply.json()["usage"]["dropped_messages"])


async def test_reasoning_is_an_item_that_can_be_sent_back(make_api, fakes):
    api = make_api("<think>hm</think>So.", renderer=fakes.ByteRenderer(template="</think>"))
    found = await respond(api, include=["reasoning.encrypted_content"], reasoning={"summary": "auto"})
    reasoning, message = found["output"]
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "hm"}]
    assert found["usage"]["output_tokens_details"]["reasoning_tokens"] > 0
    assert message["content"][0]["text"] == "So."
    sealed = {"type": "reasoning", "id": reasoning["id"], "summary": []}
    for extra in ({"encrypted_content": reasoning["encrypted_content"]}, {"content": reasoning["content"]}):
        reply = await api.post(URL, {"input": [{**sealed, **extra}, message, {"role": "user", "content": "Go"}]})
        assert "X-LLMOS-Ignored" not in reply.headers
    foreign = [{**sealed, "encrypted_content": "gAAAA"}, {"role": "user", "content": "Go"}]
    reply = await api.post(URL, {"input": foreign})
    assert reply.headers["X-LLMOS-Ignored"] == "input[0].encrypted_content"


async def test_logprobs(api):
    fields = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    found = await respond(api, **fields)
    entries = found["output"][0]["content"][0]["logprobs"]
    assert "".join(entry["token"] for entry in entries) == "Hello"
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)
    events = parse((await api.post(URL, {"input": "Hi", "stream": True, **fields})).text)
    assert without_ids(assemble(events)) == without_ids(found)
    told = [entry for event in events if event["type"].endswith("text.delta") for entry in event["logprobs"]]
    assert [entry["logprob"] for entry in told] == [entry["logprob"] for entry in entries]


IMAGE = {"type": "input_image", "image_url": "x"}
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"prompt": {"id": "p"}}, "prompt"),
    ({"messages": [{"role": "user", "content": "a"}]}, "messages"),
    ({"max_tokens": 5}, "max_tokens"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"context_management": [{"type": "compaction"}]}, "context_management"),
    ({"moderation": {"model": "m"}}, "moderation"),
    ({"service_tier": "flex"}, "service_tier"),
    ({"include": ["file_search_call.results"]}, "include[0]"),
    ({"top_logprobs": 2}, "top_logprobs"),
    ({"temperature": 3}, "temperature"),
    ({"metadata": {"a": 1}}, "metadata[...]"),
    ({"truncation": "never"}, "truncation"),
    ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
    ({"reasoning": {"context": "all_turns"}}, "reasoning.context"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "web_search_preview"}}, "tool_choice"),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"type": "web_search"}], "include": ["web_search_call.action.sources"]}, "tools[0].type"),
    ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools[0].type"),
    ({"tools": [{"type": "computer_use_preview"}]}, "tools[0].type"),
    ({"tools": [{"type": "local_shell"}]}, "tools[0].type"),
    ({"tools": [{"type": "custom", "name": "c"}]}, "tools[0].type"),
    ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
    ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
    ({"tools": [WEATHER, {**WEATHER, "name": "v", "parameters": {"type": 5}}]}, "tools[1].parameters.type"),
    ({"tools": [WEATHER, WEATHER]}, "tools[1].name"),
    ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "custom"}]}]}, "tools[0].tools[0].type"),
    ({"input": [{"type": "web_search_call", "id": "w"}]}, "input[0].type"),
    ({"input": [{"role": "user", "content": [IMAGE]}]}, "input[0].content[0].image_url"),
    ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
    ({"input": [{"role": "robot", "content": "a"}]}, "input[0].role"),
    ({"input": [{"type": "function_call", "name": "w"}]}, "input[0].call_id"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input[0].call_id"),
    ({"input": [{"type": "mcp_approval_response", "approval_request_id": "c", "approve": True}]},
     "input[0].approval_request_id"),
    ({"input": []}, "input"),
    ({"input": [[]]}, "input[0]"),
    ({"n": 2}, "n"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param"), REFUSED)
async def test_what_cannot_be_had_is_refused_by_name(api, fields, param):
    for extra in ({}, {"stream": True}):
        error = await refuse(api, **{"input": "Hi", **fields, **extra})
        assert error["param"] == param, error
        assert len(error["message"]) > 10
    assert api.generator.requests == []


async def test_unknown_fields_are_told(api):
    body = {"input": [{"role": "user", "content": "Hi", "colour": 1}], "mood": 1, "text": {"size": 2}}
    reply = await api.post(URL, body)
    assert reply.headers["X-LLMOS-Ignored"] == "input[0].colour, mood, text.size"


async def test_a_search_without_the_web_is_left_out_and_told(api):
    reply = await api.post(URL, {"input": "Hi", "tools": [{"type": "web_search", "external_web_access": False}]})
    assert (reply.status_code, reply.headers["X-LLMOS-Ignored"]) == (200, "tools[0]")


async def test_a_model_that_is_not_there(api):
    reply = await api.post(URL, {"model": "gpt-9", "input": "Hi"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


async def test_an_engine_that_fails(api):
    api.generator.fail_after = 2
    assert (await api.post(URL, {"input": "Hi"})).status_code == 500
    events = parse((await api.post(URL, {"input": "Hi", "stream": True})).text)
    found = assemble(events)
    assert (found["status"], found["error"]["code"]) == ("failed", "server_error")
    assert found["output"][0]["status"] == "incomplete"


async def test_a_stream_that_is_refused_late_ends_with_an_error_event(make_api):
    api = make_api(max_model_len=30, state="loading", settings={"ping_seconds": 0.1})
    task = asyncio.ensure_future(api.post(URL, {"input": "x" * 50, "stream": True}))
    await asyncio.sleep(0.2)
    api.generator.loaded.set()
    [event] = parse((await task).text)
    assert (event["type"], event["code"], event["param"]) == ("error", "context_length_exceeded", "input")


async def test_bodies_conform_to_openais_document(make_api, fakes, conforms):
    """Every object and every event; failed, cut and refused ones, too."""
    api = make_api(
        f"<think>hm</think>So.{CALL}",
        renderer=fakes.ByteRenderer(template="<tool_call></tool_call></think>"),
        max_model_len=4000,
    )
    form = {"type": "json_schema", "name": "city", "schema": CITY}
    conversation: list[dict[str, Any]] = [
        {},
        {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "w"}, "max_tool_calls": 3},
        {"tools": [WEATHER], "tool_choice": FORCED[2], "parallel_tool_calls": False, "truncation": "auto"},
        {"max_output_tokens": 2, "reasoning": {"effort": "none", "summary": "auto"}, "metadata": {"a": "b"}},
        {"text": {"format": form}, "include": ["reasoning.encrypted_content", "message.output_text.logprobs"]},
        {
            "tools": [
                {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "w"}]}
            ]
        },
    ]
    for fields in conversation:
        conforms(await respond(api, **fields), "Response")
        events = parse((await api.post(URL, {"input": "Hi", "stream": True, **fields})).text)
        for event in events:
            conforms(event, "ResponseStreamEvent")
    api.generator.fail_after = 2
    for event in parse((await api.post(URL, {"input": "Hi", "stream": True})).text):
        conforms(event, "ResponseStreamEvent")


ANSWERS = [
    "",
    " ",
    "Hello",
    "<think>a</think>Hello",
    "So." + CALL,
    CALL * 2,
    CALL[:-20],
    "<tool_call>no</tool_call>",
    f"<think>\nhm\n</think>\n\n{CALL}",
    "<think>never end",
    "äöü€ 🙂",
]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
async def test_streamed_equals_unstreamed(make_api: Any, fakes: ModuleType, data: st.DataObject) -> None:
    """Any answer, cut anywhere, with and without reasoning and tools; every stream keeps the order of events."""
    script = data.draw(st.sampled_from(ANSWERS))
    template = data.draw(st.sampled_from(["", "<tool_call></tool_call></think>"]))
    fields: dict[str, Any] = {"max_output_tokens": data.draw(st.sampled_from([5, 40, 200]))}
    if data.draw(st.booleans()):
        fields["tools"] = [WEATHER]
    if data.draw(st.booleans()):
        fields["stop"] = data.draw(st.sampled_from(["o", "Rome", "\n"]))
    if data.draw(st.booleans()):
        fields["include"] = ["reasoning.encrypted_content", "message.output_text.logprobs"]
    api = make_api(
        script,
        renderer=fakes.ByteRenderer(template=template),
        max_model_len=4000,
        tokens_per_step=data.draw(st.integers(1, 30)),
    )
    whole = await respond(api, **fields)
    streamed = assemble(parse((await api.post(URL, {"model": "tiny", "input": "Hi", **fields, "stream": True})).text))
    assert without_ids(streamed) == without_ids(whole)
    assert api.generator.num_holds == 0


@pytest.fixture
def client(api: Any) -> openai.AsyncOpenAI:
    return sdk(api)


def sdk(api: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url="http://127.0.0.1:8000/v1", api_key="a", http_client=api.http, max_retries=0)


class Town(BaseModel):
    city: str


async def test_the_stock_sdk(client, api, make_api, fakes):
    found = await client.responses.create(model="tiny", input="Hi")
    assert found.output_text == "Hello"
    async with client.responses.stream(model="tiny", input="Hi") as stream:
        types = [event.type async for event in stream]
        final = await stream.get_final_response()
    assert final.output_text == "Hello"
    assert types.count("response.output_text.delta") == 5
    api = make_api(ROME)
    assert (await sdk(api).responses.parse(model="tiny", input="Hi", text_format=Town)).output_parsed == Town(
        city="Rome"
    )
    async with sdk(api).responses.stream(model="tiny", input="Hi", text_format=Town) as stream:
        assert (await stream.get_final_response()).output_parsed == Town(city="Rome")
    with pytest.raises(openai.BadRequestError) as bad:
        await client.responses.create(model="tiny", input="Hi", temperature=9)
    assert bad.value.param == "temperature"


async def test_the_stock_sdk_puts_calls_and_reasoning_together(make_api, fakes):
    api = make_api(
        f"<think>hm</think>So.{CALL}",
        renderer=fakes.ByteRenderer(template="<tool_call></tool_call></think>"),
        max_model_len=4000,
    )
    async with sdk(api).responses.stream(model="tiny", input="Hi", tools=[WEATHER]) as stream:
        final = await stream.get_final_response()
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert json.loads(final.output[2].arguments) == {"city": "Rome"}


async def test_a_client_that_leaves_frees_its_place(make_api):
    api = make_api("x" * 200, step_seconds=0.01)
    for extra in ({}, {"stream": True}):
        task = asyncio.ensure_future(api.post(URL, {"input": "Hi", **extra}))
        while len(api.generator.generations) == len([g for g in api.generator.generations if g.aborted.is_set()]):
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for _ in range(100):
            if api.generator.generations[-1].aborted.is_set():
                break
            await asyncio.sleep(0.02)
        assert api.generator.generations[-1].aborted.is_set()
        assert api.generator.num_holds == 0
