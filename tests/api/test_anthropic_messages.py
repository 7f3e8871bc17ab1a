"""Anthropic's form on the wire: what reaches the prompt, which events a stream has, what is refused and told."""

from __future__ import annotations

import asyncio
import json
from types import ModuleType
from typing import Any

import anthropic
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jiter import from_json

from llmos_server.api.anthropic import fields
from llmos_server.api.anthropic.half_json import read_object
from llmos_server.errors import EngineBusy, EngineFailed

USER: list[Any] = [{"role": "user", "content": "Hi"}]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: Any = {"name": "w", "input_schema": CITY}
CALL = '<tool_call>\n{"name": "w", "arguments": {"city": "Rome"}}\n</tool_call>'
USE = {"type": "tool_use", "id": "t1", "name": "w", "input": {"city": "Rome"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "sunny"}
THINKING = {"type": "thinking", "thinking": "", "signature": ""}
CALLED: list[Any] = [*USER, {"role": "assistant", "content": [USE]}]


def body(**changes: Any) -> dict[str, Any]:
    return {"model": "tiny", "max_tokens": 200, "messages": USER, **changes}


async def post(api: Any, path: str = "/v1/messages", **changes: Any) -> Any:
    return await api.post(path, body(**changes))


def prompt_of(api: Any) -> str:
    prompt: str = api.renderer.decode(api.generator.requests[-1].prompt_ids)
    return prompt


def events_of(text: str) -> list[dict[str, Any]]:
    found = []
    for event in text.strip().split("\n\n"):
        kind, data = event.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert kind == f"event: {found[-1]['type']}"
    return found


async def test_the_events_of_an_answer_with_everything(make_api: Any, fakes: ModuleType) -> None:
    script = f"<think>hm</think>So.\n{CALL}"
    renderer = fakes.ByteRenderer(template="<tool_call></tool_call></think>")
    api = make_api(script, renderer=renderer, max_model_len=4000, tokens_per_step=1000)
    reply = await post(api, tools=[TOOL], stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    begin, *events = events_of(reply.text)
    assert begin["message"]["content"] == []
    assert begin["message"]["usage"]["input_tokens"] == len(api.generator.requests[0].prompt_ids)
    use = events[8]["content_block"]
    assert events == [
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": THINKING},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "unsigned"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "So."}},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {**USE, "id": use["id"], "input": {}}},
        {
            "type": "content_block_delta",
            "index": 2,
            "delta": {"type": "input_json_delta", "partial_json": '{"city": "Rome"}'},
        },
        {"type": "content_block_stop", "index": 2},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": events[-2]["usage"],
        },
        {"type": "message_stop"},
    ]  # fmt: skip
    assert events[-2]["usage"]["output_tokens"] == len(script)
    assert events[-2]["usage"]["output_tokens_details"] == {"thinking_tokens": len("<think>hm</think>")}


ANSWERS = [
    "",
    "Hello",
    "Hello <tool",
    "<think>a</think>Hello",
    f"So.\n{CALL}",
    CALL * 2,
    f"<think>\nhm\n</think>\n\n{CALL}",
    "<think>never end",
]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
async def test_streamed_equals_unstreamed(make_api: Any, fakes: ModuleType, data: st.DataObject) -> None:
    """Any answer, cut anywhere, with and without reasoning, as the stock SDK puts it together."""
    script = data.draw(st.sampled_from(ANSWERS))
    template = data.draw(st.sampled_from(["", "<tool_call></tool_call></think>"]))
    asked: dict[str, Any] = body(tools=[TOOL], max_tokens=data.draw(st.integers(1, 90)))
    asked["stop_sequences"] = data.draw(st.sampled_from([[], ["o"], ["Rome"], ["\n"]]))
    asked["thinking"] = {"type": "adaptive", "display": data.draw(st.sampled_from(["summarized", "omitted"]))}
    api = make_api(
        script,
        renderer=fakes.ByteRenderer(template=template),
        max_model_len=4000,
        tokens_per_step=data.draw(st.integers(1, 30)),
    )
    client = anthropic.AsyncAnthropic(
        base_url="http://127.0.0.1:8000", api_key="a", http_client=api.http, max_retries=0
    )
    whole = await client.messages.create(**asked)
    async with client.messages.stream(**asked) as stream:
        streamed = await stream.get_final_message()
    assert comparable(streamed) == comparable(whole)


def comparable(message: Any) -> dict[str, Any]:
    found = message.to_dict()
    content = [{name: value for name, value in block.items() if name != "id"} for block in found["content"]]
    return {
        **{name: found[name] for name in ("stop_reason", "stop_sequence", "usage", "role", "model")},
        "content": content,
    }


@pytest.mark.parametrize(
    "text", ['{"a": "x", "b": [1, {"c": true}], "d": {"e": "é\\"}"}}', '{"a": [[], {}, null, ""]}']
)
def test_the_whole_part_of_half_an_object(text: str) -> None:
    """The same as the parser that the SDK reads a stream with."""
    for length in range(1, len(text) + 1):
        assert read_object(text[:length]) == from_json(text[:length].encode(), partial_mode=True)


@pytest.mark.parametrize("text", ["", "[1]", "]", "{]", '{"a": }', "nonsense"])
def test_what_is_no_object_is_an_empty_one(text: str) -> None:
    assert read_object(text) == {}


@pytest.mark.parametrize(
    ("changes", "stop_reason", "stop_sequence"),
    [
        ({}, "end_turn", None),
        ({"max_tokens": 2}, "max_tokens", None),
        ({"stop_sequences": ["l"]}, "stop_sequence", "l"),
    ],
)
async def test_why_an_answer_ended(api: Any, changes: Any, stop_reason: str, stop_sequence: str | None) -> None:
    found = (await post(api, **changes)).json()
    assert (found["stop_reason"], found["stop_sequence"]) == (stop_reason, stop_sequence)


async def test_an_answer_that_fills_the_context_says_so(make_api: Any) -> None:
    api = make_api("long " * 100, max_model_len=100)
    assert (await post(api, max_tokens=1000)).json()["stop_reason"] == "model_context_window_exceeded"


@pytest.mark.parametrize(
    ("changes", "prompt"),
    [
        ({"system": "S"}, "system:S\nuser:Hi\nassistant:"),
        (
            {"system": [{"type": "text", "text": "S"}, {"type": "text", "text": "T"}]},
            "system:S\nT\nuser:Hi\nassistant:",
        ),
        ({"messages": [*USER, *USER]}, "user:Hi\nHi\nassistant:"),
        ({"messages": [*USER, {"role": "system", "content": "S"}]}, "user:Hi\nsystem:S\nassistant:"),
        ({"messages": [*USER, {"role": "assistant", "content": "Once"}]}, "user:Hi\nassistant:Once"),
    ],
)
async def test_the_prompt(api: Any, changes: Any, prompt: str) -> None:
    assert (await post(api, **changes)).status_code == 200
    assert prompt_of(api) == prompt


async def test_tool_results_go_before_the_text_beside_them(make_api: Any, fakes: ModuleType) -> None:
    renderer = fakes.ByteRenderer(template="<tool_call></tool_call>")
    api = make_api(renderer=renderer)
    blocks = [{**RESULT, "is_error": True}, {"type": "text", "text": "Go on."}]
    assert (await post(api, messages=[*CALLED, {"role": "user", "content": blocks}])).status_code == 200
    assert prompt_of(api).endswith("tool:Error: sunny\nuser:Go on.\nassistant:")


async def test_a_reference_to_a_tool_is_told(make_api: Any, fakes: ModuleType) -> None:
    """Claude Code's ToolSearch; the tool itself is among the request's tools."""
    api = make_api(renderer=fakes.ByteRenderer(template="<tool_call></tool_call>"), max_model_len=4000)
    found = {**RESULT, "content": [{"type": "tool_reference", "tool_name": "w"}]}
    reply = await post(
        api, messages=[*CALLED, {"role": "user", "content": [found]}], tools=[{**TOOL, "defer_loading": True}]
    )
    assert reply.headers["X-LLMOS-Ignored"] == "tools[0].defer_loading"
    assert "tool:w is among the tools.\n" in prompt_of(api)


async def test_the_billing_block_is_left_out_and_told(api: Any) -> None:
    """It differs from request to request, so that nothing behind it could be found in the prefix cache."""
    billing = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=1a2b3;"}
    reply = await post(api, system=[billing, {"type": "text", "text": "S"}])
    assert prompt_of(api).startswith("system:S\n")
    assert reply.headers["X-LLMOS-Ignored"] == "system[0]"


async def test_thinking_of_others_is_left_out_and_told(api: Any) -> None:
    blocks = [{"type": "redacted_thinking", "data": "x"}, {"type": "thinking", "thinking": "t", "signature": "s"}, USE]
    reply = await post(
        api, messages=[*USER, {"role": "assistant", "content": blocks}, {"role": "user", "content": [RESULT]}]
    )
    assert reply.headers["X-LLMOS-Ignored"] == "messages[1].content[0]"


@pytest.mark.parametrize(
    ("thinking", "variables", "kwargs", "ignored"),
    [
        ({"type": "disabled"}, {"enable_thinking"}, [("enable_thinking", False)], None),
        ({"type": "adaptive"}, {"thinking"}, [("thinking", True)], None),
        ({"type": "disabled"}, set(), [], None),
        ({"type": "enabled", "budget_tokens": 2000}, set(), [], "thinking.budget_tokens, thinking.type"),
    ],
)
async def test_the_templates_switch(make_api: Any, thinking: Any, variables: Any, kwargs: Any, ignored: Any) -> None:
    api = make_api()
    api.renderer.template_variables = frozenset(variables)
    reply = await post(api, thinking=thinking)
    assert reply.headers.get("X-LLMOS-Ignored") == ignored
    assert prompt_of(api).startswith(repr(kwargs) if kwargs else "user:")


async def test_effort(make_api: Any) -> None:
    api = make_api()
    assert (await post(api, output_config={"effort": "low"})).headers["X-LLMOS-Ignored"] == "output_config.effort"
    api.renderer.template_variables = frozenset({"reasoning_effort"})
    assert "X-LLMOS-Ignored" not in (await post(api, output_config={"effort": "low"})).headers
    assert prompt_of(api).startswith("[('reasoning_effort', 'low')]")


@pytest.mark.parametrize(
    ("choice", "openai"),
    [
        ({"type": "auto"}, {}),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"parallel_tool_calls": False}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "tool", "name": "w"}, {"tool_choice": {"type": "function", "function": {"name": "w"}}}),
        ({"type": "none"}, {"tool_choice": "none"}),
    ],
)
async def test_tool_choice_means_what_openais_does(make_api: Any, choice: Any, openai: Any) -> None:
    api = make_api(CALL, max_model_len=4000)
    reply = await post(api, tools=[TOOL, {**TOOL, "name": "v"}], tool_choice=choice)
    assert reply.status_code == 200, reply.text
    functions = [{"type": "function", "function": {"name": name, "parameters": CITY}} for name in ("w", "v")]
    assert (await api.chat(tools=functions, max_tokens=200, **openai)).status_code == 200
    mine, theirs = api.generator.requests
    assert (mine.prompt_ids, mine.sampling.grammar) == (theirs.prompt_ids, theirs.sampling.grammar)
    assert (reply.json()["stop_reason"] == "tool_use") == (choice["type"] != "none")


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"}}


@pytest.mark.parametrize(
    ("changes", "param", "says"),
    [
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, "messages[0].content[0]", "image blocks can't be read"),
        (
            {"messages": [{"role": "user", "content": [{"type": "document", "source": {}}]}]},
            "messages[0].content[0]",
            "document blocks can't be read",
        ),
        (
            {"messages": [*CALLED, {"role": "user", "content": [{**RESULT, "content": [IMAGE]}]}]},
            "messages[2].content[0].content[0]",
            "image blocks can't be read",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "odd"}]}]}, "messages[0].content[0]", "'odd' blocks"),
        ({"messages": [{"role": "user", "content": [RESULT]}]}, "messages[0].content[0].tool_use_id", "id 't1'"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "is missing"),
        ({"messages": CALLED}, "messages[1].content", "end with the user's"),
        ({"messages": []}, "messages", ">= 1"),
        ({"messages": [{"role": "system", "content": []}]}, "messages", "no text"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type", "of Anthropic's own"),
        ({"tools": [{"name": "w"}]}, "tools[0].input_schema", "is missing"),
        ({"tools": [{**TOOL, "name": "a b"}]}, "tools[0].name", "letters"),
        ({"tools": [{**TOOL, "input_schema": {"type": "string"}}]}, "tools[0].input_schema.type", "an object"),
        ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "v"}}, "tool_choice.name", "none of the tools"),
        ({"tool_choice": {"type": "any"}}, "tool_choice", "needs tools"),
        ({"max_tokens": None}, "max_tokens", "is missing"),
        ({"max_tokens": 0}, "max_tokens", ">= 1"),
        ({"mcp_servers": [{"url": "https://a"}]}, "mcp_servers", "let the client do that"),
        ({"output_format": {"type": "json_schema", "schema": {"type": "odd"}}}, "output_format.schema.type", ""),
        ({"output_format": {"type": "json_schema", "schema": CITY}, "temperature": 3}, "temperature", "<= 2"),
        ({"messages": [{"role": "user", "content": "x" * 482}]}, "messages", "too long: 500 tokens > 399 maximum. "),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_refused(api: Any, changes: Any, param: str, says: str, stream: bool) -> None:
    reply = await post(api, stream=stream, **changes)
    found = reply.json()
    assert (reply.status_code, found["type"], found["error"]["type"]) == (400, "error", "invalid_request_error")
    assert found["error"]["details"]["param"] == param, found
    assert says in found["error"]["message"], found
    assert found["request_id"] == reply.headers["Request-Id"] == reply.headers["X-Request-Id"]


async def test_a_counted_prompt_is_the_one_that_is_computed(make_api: Any) -> None:
    api = make_api(max_model_len=4000)
    changes: dict[str, Any] = {"tools": [TOOL], "system": "S", "thinking": {"type": "disabled"}}
    asked = {name: value for name, value in body(**changes).items() if name != "max_tokens"}
    counted = (await api.post("/v1/messages/count_tokens", asked)).json()
    assert api.generator.requests == []
    await post(api, **changes)
    assert counted == {"input_tokens": len(api.generator.requests[0].prompt_ids)}


async def test_an_idle_stream_gets_pings(make_api: Any) -> None:
    """While the model is loaded, and before the message begins."""
    api = make_api(state="loading", settings={"ping_seconds": 0.1})
    asyncio.get_running_loop().call_later(0.5, api.generator.loaded.set)
    reply = await post(api, stream=True)
    events = events_of("\n\n".join(part for part in reply.text.split("\n\n") if not part.startswith(":")))
    kinds = [event["type"] for event in events]
    assert kinds[0] == "ping"
    assert next(kind for kind in kinds if kind != "ping") == "message_start"
    assert kinds[-1] == "message_stop"


async def test_a_stream_that_fails_ends_with_an_error(make_api: Any) -> None:
    api = make_api()
    api.generator.fail_after = 2
    reply = await post(api, stream=True)
    *_, last = events_of(reply.text)
    assert (last["type"], last["error"]["type"]) == ("error", "api_error")
    assert last["request_id"] == reply.headers["Request-Id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("POST", "/v1/messages/batches", 404, "not_found_error"),
    ],
)
async def test_errors_of_routing(api: Any, method: str, path: str, status: int, kind: str) -> None:
    reply = await api.http.request(method, path, json={})
    assert (reply.status_code, reply.json()["type"], reply.json()["error"]["type"]) == (status, "error", kind)
    assert status == 405 or "count_tokens" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [(EngineBusy("full"), 429, "rate_limit_error"), (EngineFailed("died"), 503, "overloaded_error")],
)
async def test_errors_of_the_engine(make_api: Any, error: Exception, status: int, kind: str) -> None:
    api = make_api()
    api.generator.submit_error = error
    reply = await post(api)
    assert (reply.status_code, reply.json()["error"]["type"]) == (status, kind)


async def test_a_body_that_is_too_large(make_api: Any) -> None:
    reply = await post(make_api(settings={"max_body_bytes": 100}), system="x" * 200)
    assert (reply.status_code, reply.json()["error"]["type"]) == (413, "request_too_large")


async def test_a_foreign_page_is_refused_in_the_same_form(api: Any) -> None:
    reply = await api.http.post("/v1/messages", json=body(), headers={"Origin": "http://elsewhere"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (403, "permission_error")


async def test_null_equals_absent(api: Any) -> None:
    nulls = {name: None for name in fields.MESSAGES if name not in ("messages", "max_tokens")}
    reply = await api.post("/v1/messages", {**body(), **nulls})
    assert reply.status_code == 200
    assert "X-LLMOS-Ignored" not in reply.headers
