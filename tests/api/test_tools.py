"""Tools on the wire: what reaches the engine and the prompt, what comes back, streamed or not, and what is refused."""

from __future__ import annotations

import json
from types import ModuleType
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
UNIQUE = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
USER = [{"role": "user", "content": "Hi"}]
ROME = '{"city": "Rome"}'


def tool(name: str = "w", parameters: Any = CITY, **fields: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **fields}}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


FORMATS = {
    "json": ("", f'So.\n<tool_call>\n{{"name": "w", "arguments": {ROME}}}\n</tool_call>'),
    "hermes": ("<tool_call></tool_call>", f'So.\n<tool_call>\n{{"name": "w", "arguments": {ROME}}}\n</tool_call>'),
    "granite": ("<|start_of_role|>", f'So.<|tool_call|>[{{"name": "w", "arguments": {ROME}}}]'),
    "mistral": ("[TOOL_CALLS]", f'So. [TOOL_CALLS] [{{"name": "w", "arguments": {ROME}}}]'),
    "mistral_args": ("[TOOL_CALLS][ARGS]", f"So.[TOOL_CALLS]w[ARGS]{ROME}"),
    "llama3": ("<|python_tag|>", f'So.<|python_tag|>{{"name": "w", "parameters": {ROME}}}'),
}
"""A template's markers, and an answer."""


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("tokens_per_step", [1, 7, 1000])
async def test_calls_of_every_format(make_api: Any, fakes: ModuleType, name: str, tokens_per_step: int) -> None:
    template, script = FORMATS[name]
    api = make_api(
        script, renderer=fakes.ByteRenderer(template=template), max_model_len=4000, tokens_per_step=tokens_per_step
    )
    choice = (await api.chat(tools=[tool()])).json()["choices"][0]
    [call] = choice["message"]["tool_calls"]
    assert choice["message"]["content"] == "So."
    assert call["function"] == {"name": "w", "arguments": ROME}
    assert (choice["finish_reason"], call["type"]) == ("tool_calls", "function")
    grammar = api.generator.requests[0].sampling.grammar
    assert LLMatcher.validate_grammar_with_warnings(grammar) == (False, [])
    assert '"city"' in grammar
    assert await assembled(api, tools=[tool()]) == without_ids(choice)


async def test_an_id_that_is_no_text_is_no_calls_id(api: Any) -> None:
    call = {"id": {"a": 1}, "type": "function", "function": {"name": "w", "arguments": "{}"}}
    turns = [*USER, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c", "content": "x"}]
    reply = await api.chat(messages=turns)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "messages[2].tool_call_id")


async def assembled(api: Any, **fields: Any) -> dict[str, Any]:
    """A streamed choice, put together by the stock SDK."""
    client = openai.AsyncOpenAI(base_url="http://127.0.0.1:8000/v1", api_key="a", http_client=api.http, max_retries=0)
    async with client.chat.completions.stream(model="tiny", messages=USER, **fields) as stream:
        last: dict[str, Any] = {}
        async for event in stream:
            if event.type == "chunk" and event.chunk.choices and event.chunk.choices[0].finish_reason:
                last = event.chunk.choices[0].model_extra or {}  # The SDK doesn't keep these.
        return without_ids({**stream.current_completion_snapshot.choices[0].to_dict(), **last})


def without_ids(choice: dict[str, Any]) -> dict[str, Any]:
    """As unstreamed and streamed ones can be compared: the SDK adds what it has parsed."""
    message = {key: value for key, value in choice["message"].items() if value is not None or key == "content"}
    message = {key: value for key, value in message.items() if key not in ("parsed", "tool_calls")}
    calls = [
        {"name": call["function"]["name"], "arguments": call["function"]["arguments"], "type": call["type"]}
        for call in choice["message"].get("tool_calls") or []
    ]
    rest = {key: choice[key] for key in ("finish_reason", "index", "stop_reason")}
    return {**rest, "message": message, "calls": calls, "format_error": choice.get("format_error")}


ANSWERS = [
    "",
    " ",
    "Hello",
    "Hello <tool",
    "<think>a</think>Hello",
    FORMATS["json"][1],
    FORMATS["json"][1] * 2,
    FORMATS["json"][1][3:],
    FORMATS["json"][1][:-20],
    "<tool_call>no</tool_call>",
    f'<think>\nhm\n</think>\n\n<tool_call>{{"name": "w", "arguments": {ROME}}}</tool_call>',
    "<think>never end",
]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
async def test_streamed_equals_unstreamed(make_api: Any, fakes: ModuleType, data: st.DataObject) -> None:
    """Any answer, cut anywhere, with and without reasoning."""
    script = data.draw(st.sampled_from(ANSWERS))
    template = data.draw(st.sampled_from(["", "<tool_call></tool_call></think>"]))
    fields: dict[str, Any] = {"tools": [tool()], "max_tokens": data.draw(st.sampled_from([5, 40, 200]))}
    if data.draw(st.booleans()):
        fields["stop"] = data.draw(st.sampled_from(["o", "Rome", "\n"]))
    api = make_api(
        script,
        renderer=fakes.ByteRenderer(template=template),
        max_model_len=4000,
        tokens_per_step=data.draw(st.integers(1, 30)),
    )
    choice = (await api.chat(**fields)).json()["choices"][0]
    assert await assembled(api, **fields) == without_ids(choice)
    if choice["finish_reason"] == "tool_calls":
        assert [json.loads(call["arguments"]) for call in without_ids(choice)["calls"]]


@pytest.mark.parametrize("skip_special_tokens", [None, False])
async def test_markers_that_are_special_tokens(make_api: Any, fakes: ModuleType, skip_special_tokens: Any) -> None:
    """They are read as the calls' and the reasoning's begin, as they are written; the grammar names their ids."""
    markers = ["[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]"]
    renderer = fakes.ByteRenderer(template="".join(markers), markers=markers)
    ids = renderer.marker_tokens(markers)
    script = [
        ids["[THINK]"],
        *b"hm",
        ids["[/THINK]"],
        *b"So.",
        ids["[TOOL_CALLS]"],
        *b"w",
        ids["[ARGS]"],
        *ROME.encode(),
    ]
    api = make_api(lambda request, index: script, renderer=renderer, max_model_len=4000)
    fields = {"tools": [tool()], "skip_special_tokens": skip_special_tokens}
    choice = (await api.chat(**fields)).json()["choices"][0]
    message = choice["message"]
    assert (message["content"], message["reasoning"], choice["finish_reason"]) == ("So.", "hm", "tool_calls")
    assert without_ids(choice)["calls"] == [{"name": "w", "arguments": ROME, "type": "function"}]
    grammar = api.generator.requests[0].sampling.grammar
    assert all(f"<[{token_id}]>" in grammar for token_id in ids.values())
    assert await assembled(api, tools=[tool()]) == without_ids(choice)
    plain = (await api.chat(tools=[tool()], tool_choice="none")).json()["choices"][0]["message"]
    assert plain["content"] == f"So.w{ROME}"


async def test_the_wire_of_a_stream(make_api: Any) -> None:
    api = make_api(FORMATS["json"][1], max_model_len=4000, tokens_per_step=10)
    reply = await api.chat(tools=[tool()], stream=True)
    lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: {")]
    deltas = [json.loads(line)["choices"][0]["delta"] for line in lines]
    assert deltas[0] == {"role": "assistant", "content": None, "refusal": None}
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    first, *rest = calls
    assert first == {"index": 0, "id": first["id"], "type": "function", "function": {"name": "w", "arguments": ""}}
    assert all(call.keys() == {"index", "function"} for call in rest)
    assert "".join(call["function"]["arguments"] for call in rest) == ROME
    assert len(rest) > 1


async def test_choices_have_calls_of_their_own_and_log_probabilities_cover_all_tokens(make_api: Any) -> None:
    scripts = [FORMATS["json"][1], "No.", FORMATS["json"][1] + FORMATS["json"][1][3:]]
    api = make_api(lambda request, index: list(scripts[index].encode()), max_model_len=4000)
    body = {"tools": [tool()], "n": 3, "logprobs": True, "top_logprobs": 1}
    choices = (await api.chat(**body)).json()["choices"]
    assert [len(choice["message"].get("tool_calls", ())) for choice in choices] == [1, 0, 2]
    assert [choice["finish_reason"] for choice in choices] == ["tool_calls", "stop", "tool_calls"]
    ids = [call["id"] for choice in choices for call in choice["message"].get("tool_calls", ())]
    assert len(set(ids)) == 3
    reply = await api.chat(**body, stream=True)
    lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: {")]
    chunks = [json.loads(line)["choices"][0] for line in lines]
    for choice, script in zip(choices, scripts, strict=True):
        entries = choice["logprobs"]["content"]
        assert b"".join(bytes(entry["bytes"]) for entry in entries) == script.encode()
        streamed = [
            entry
            for chunk in chunks
            if chunk["index"] == choice["index"] and chunk["logprobs"]
            for entry in chunk["logprobs"]["content"]
        ]
        assert streamed == entries


@pytest.mark.parametrize(
    ("fields", "grammar", "told"),
    [
        ({"tool_choice": "auto"}, ["TEXT", 'name\\": \\"w', 'name\\": \\"v'], True),
        ({}, ["TEXT"], True),
        ({"tool_choice": "none"}, [], False),
        ({"tool_choice": "required"}, ["-TEXT", 'name\\": \\"v'], True),
        ({"tool_choice": named("v")}, ["-TEXT", '-name\\": \\"w', 'name\\": \\"v'], True),
        ({"parallel_tool_calls": False}, ["-{0,"], True),
        ({"parallel_tool_calls": True}, ["{0,15}"], True),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": [named("w")]},
                }
            },
            ["-TEXT", '-name\\": \\"v', 'name\\": \\"w'],
            True,
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named("w")]}}},
            ["TEXT", '-name\\": \\"v'],
            True,
        ),
        ({"response_format": {"type": "json_object"}}, ["-TEXT", "form: %json"], True),
    ],
)
async def test_what_is_asked_for_reaches_engine_and_prompt(
    make_api: Any, fields: dict[str, Any], grammar: list[str], told: bool
) -> None:
    api = make_api(max_model_len=4000)
    reply = await api.chat(tools=[tool(), tool("v", None)], **fields)
    assert reply.status_code == 200, reply.text
    [request] = api.generator.requests
    assert bool(request.sampling.grammar) == bool(grammar)
    for part in grammar:
        assert (part.removeprefix("-") in request.sampling.grammar) == (not part.startswith("-")), part
    assert ('"name": "v"' in api.renderer.decode(request.prompt_ids)) == told


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "another type": ({"tools": [{"type": "web_search"}]}, "tools[0].type", "only functions"),
    "a custom tool": ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type", "only functions"),
    "no function": ({"tools": [tool(), {"type": "function"}]}, "tools[1].function", "missing"),
    "no name": ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "missing"),
    "a strange name": ({"tools": [tool("a b")]}, "tools[0].function.name", "letters"),
    "an empty name": ({"tools": [tool("")]}, "tools[0].function.name", "letters"),
    "one name twice": ({"tools": [tool(), tool("v"), tool()]}, "tools[2].function.name", "twice"),
    "parameters of no object": (
        {"tools": [tool(parameters={"type": "string"})]},
        "tools[0].function.parameters.type",
        "object",
    ),
    "a wrong schema": (
        {"tools": [tool(parameters={"properties": {"a": {"type": "text"}}})]},
        "tools[0].function.parameters.properties.a.type",
        "text",
    ),
    "strict and unheld": (
        {"tools": [tool(), tool("v", UNIQUE, strict=True)]},
        "tools[1].function.parameters.properties.a.uniqueItems",
        "strict: false",
    ),
    "another choice": ({"tools": [tool()], "tool_choice": "any"}, "tool_choice", "required"),
    "an unknown choice": ({"tools": [tool()], "tool_choice": named("x")}, "tool_choice.function.name", "none of"),
    "a choice without a name": ({"tools": [tool()], "tool_choice": {"type": "function"}}, "tool_choice", "name"),
    "required without tools": ({"tool_choice": "required"}, "tool_choice", "needs tools"),
    "allowed_tools of no mode": (
        {
            "tools": [tool()],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "x", "tools": [named("w")]}},
        },
        "tool_choice.allowed_tools.mode",
        "auto or required",
    ),
    "no tools allowed": (
        {"tools": [tool()], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}},
        "tool_choice.allowed_tools",
        "at least one",
    ),
    "parallel_tool_calls": ({"tools": [tool()], "parallel_tool_calls": 1}, "parallel_tool_calls", "bool"),
    "ignore_eos": ({"tools": [tool()], "ignore_eos": True}, "ignore_eos", "leave it out"),
    "a regex beside": ({"tools": [tool()], "structured_outputs": {"regex": "a"}}, "structured_outputs", "JSON form"),
    "older names": ({"functions": [{"name": "w"}]}, "functions", "send tools"),
    "an older choice": ({"tools": [tool()], "function_call": {"name": "w"}}, "function_call", "send tool_choice"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_is_refused_by_place(api: Any, case: str) -> None:
    fields, param, reason = REFUSED[case]
    for stream in (False, True):
        reply = await api.chat(**fields, stream=stream)
        error = reply.json()["error"]
        assert (reply.status_code, error["param"]) == (400, param), error
        assert reason in error["message"]
    assert api.generator.requests == []


async def test_what_no_grammar_holds_is_checked_afterwards(make_api: Any) -> None:
    def script(arguments: str) -> str:
        return f'<tool_call>{{"name": "v", "arguments": {arguments}}}</tool_call>'

    body = {"tools": [tool("v", {**UNIQUE, "$schema": "https://x", "title": None})]}
    for arguments, told in (('{"a": [1, 2]}', None), ('{"a": [1, 1]}', "tool_calls.0.function.arguments: a: ")):
        api = make_api(script(arguments), max_model_len=4000)
        choice = (await api.chat(**body)).json()["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["tool_calls"][0]["function"]["arguments"] == arguments
        assert choice.get("format_error", "").startswith(told or "")
        assert ("format_error" in choice) == (told is not None)
        assert await assembled(api, **body) == without_ids(choice)


async def test_a_form_is_no_call_and_a_call_has_no_form(make_api: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}
    form = {"type": "json_schema", "json_schema": {"name": "f", "schema": schema}}
    body = {"tools": [tool()], "response_format": form}
    called = (await make_api(FORMATS["json"][1][4:], max_model_len=4000).chat(**body)).json()["choices"][0]
    assert (called["finish_reason"], "format_error" in called) == ("tool_calls", False)
    wrong = (await make_api('{"a": [1, 1]}', max_model_len=4000).chat(**body)).json()["choices"][0]
    assert (wrong["finish_reason"], wrong["format_error"][:2]) == ("stop", "a:")


CALL = {"id": "c1", "type": "function", "function": {"name": "w", "arguments": ROME}}


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (ROME, ROME),
        ("", "{}"),
        (None, "{}"),
        ('{"city": "Ro', '{"arguments": "{\\"city\\": \\"Ro"}'),
        ("[1]", '{"arguments": "[1]"}'),
        ({"city": "Rome"}, ROME),
    ],
)
async def test_calls_and_results_go_into_the_prompt(make_api: Any, arguments: Any, shown: str) -> None:
    api = make_api(max_model_len=4000)
    call = {**CALL, "function": {"name": "w", "arguments": arguments}}
    parts = [{"type": "text", "text": "sunny"}, {"type": "text", "text": "warm"}]
    messages = [
        *USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": parts},
    ]
    reply = await api.chat(messages=messages, tools=[tool()])
    assert reply.status_code == 200, reply.text
    text = api.renderer.decode(api.generator.requests[0].prompt_ids)
    assert f'<tool_call>\n{{"name": "w", "arguments": {shown}}}\n</tool_call>' in text
    assert "<tool_response>\nsunny\nwarm\n</tool_response>" in text


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([*USER, {"role": "tool", "content": "x"}], "messages[1].tool_call_id"),
        ([*USER, {"role": "tool", "content": "x", "tool_call_id": "c1"}], "messages[1].tool_call_id"),
        (
            [
                *USER,
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "content": "x", "tool_call_id": "c2"},
            ],
            "messages[2].tool_call_id",
        ),
        (
            [*USER, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c1"}],
            "messages[2].content",
        ),
        ([*USER, {"role": "assistant", "tool_calls": [{"id": "c1"}]}], "messages[1].tool_calls[0].function.name"),
    ],
)
async def test_a_history_that_makes_no_sense_is_refused_by_place(api: Any, messages: Any, param: str) -> None:
    reply = await api.chat(messages=messages)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


async def test_the_answer_can_be_sent_back(make_api: Any) -> None:
    api = make_api(FORMATS["json"][1], max_model_len=4000)
    message = (await api.chat(tools=[tool()])).json()["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sunny"}
    reply = await api.chat(messages=[*USER, message, result], tools=[tool()], headers={"X-LLMOS-Strict": "1"})
    assert reply.status_code == 200, reply.text


async def test_tokenize_and_render_know_tools(make_api: Any) -> None:
    api = make_api(max_model_len=4000)
    body = {"model": "tiny", "messages": USER, "tools": [tool()]}
    rendered = (await api.post("/v1/chat/completions/render", body)).json()
    tokenized = (await api.post("/tokenize", body)).json()
    assert rendered["token_ids"] == tokenized["tokens"]
    assert '"name": "w"' in rendered["prompt"]
    reply = await api.post("/tokenize", {"prompt": "x", "tools": [tool()]})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "tools")


async def test_reasoning_is_split_off_streamed_or_not(make_api: Any, fakes: ModuleType) -> None:
    api = make_api("<think>\nhm\n</think>\n\nYes.", renderer=fakes.ByteRenderer(template="<think> </think>"))
    reply = (await api.chat()).json()
    message = reply["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"], message["reasoning"]) == ("Yes.", "hm", "hm")
    assert reply["usage"]["completion_tokens_details"]["reasoning_tokens"] == len("<think>\nhm\n</think>")
    assert await assembled(api) == without_ids(reply["choices"][0])
    form = (await api.chat(response_format={"type": "json_object"})).json()["choices"][0]
    assert form["message"]["content"] == "Yes."
    assert '\\"<think>\\"' in api.generator.requests[-1].sampling.grammar
    assert api.generator.requests[0].sampling.grammar == ""


async def test_reasoning_that_the_prompt_begins(make_api: Any, fakes: ModuleType) -> None:
    """A template may end with the marker."""
    api = make_api("hm</think>Yes.", renderer=fakes.ByteRenderer(template="<think> </think>"))
    messages = [*USER, {"role": "assistant", "content": "<think>"}]
    fields = {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}
    message = (await api.chat(**fields)).json()["choices"][0]["message"]
    assert (message["content"], message["reasoning"]) == ("Yes.", "hm")
    await api.chat(**fields, response_format={"type": "json_object"})
    assert "reasoning? SPACE?" not in api.generator.requests[-1].sampling.grammar
