"""response_format and structured_outputs on the wire: what reaches the engine, what is refused, and what is checked
afterwards. What grammars do to tokens is in tests/engine and tests/models."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from llguidance import LLMatcher

SCHEMA = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}, "required": ["a"]}
UNIQUE = {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}


def json_schema(schema: Any, **options: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **options}}


ACCEPTED: dict[str, tuple[dict[str, Any], str]] = {
    "json_object": ({"response_format": {"type": "json_object"}}, '"type":"object"'),
    "json_object with a schema": ({"response_format": {"type": "json_object", "schema": SCHEMA}}, '"integer"'),
    "json_schema": ({"response_format": json_schema(SCHEMA, strict=True, description="d")}, '"integer"'),
    "json_schema with nulls": ({"response_format": json_schema({**SCHEMA, "title": None}, strict=None)}, '"integer"'),
    "json": ({"structured_outputs": {"json": SCHEMA}}, '"integer"'),
    "json as text": ({"structured_outputs": {"json": json.dumps(SCHEMA), "regex": None}}, '"integer"'),
    "any object": ({"structured_outputs": {"json_object": True}}, '"type":"object"'),
    "regex": ({"structured_outputs": {"regex": "[a-c]+"}}, "[a-c]+"),
    "choice": ({"structured_outputs": {"choice": ["yes", "no"]}}, '"yes" | "no"'),
    "grammar": ({"structured_outputs": {"grammar": 'root ::= "a" | "b"'}}, '"a"'),
    "vLLM's defaults": (
        {"structured_outputs": {"regex": "a", "disable_any_whitespace": False, "disable_fallback": True}},
        "a",
    ),
    "text": ({"response_format": {"type": "text"}}, ""),
    "text beside another": ({"response_format": {"type": "text"}, "structured_outputs": {"regex": "[x]"}}, "[x]"),
}


@pytest.mark.parametrize("case", ACCEPTED)
async def test_the_engine_gets_a_grammar(api: Any, case: str) -> None:
    body, part = ACCEPTED[case]
    for reply in (await api.chat(**body, headers={"X-LLMOS-Strict": "1"}), await api.complete(**body)):
        assert reply.status_code == 200, reply.text
        assert "format_error" not in reply.text
    chat, completion = (request.sampling.grammar for request in api.generator.requests)
    assert chat == completion
    assert part in chat
    assert bool(chat) == bool(part)
    if chat:
        assert LLMatcher.validate_grammar_with_warnings(chat) == (False, [])


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "another type": ({"response_format": {"type": "regex"}}, "response_format.type", "structured_outputs"),
    "no type": ({"response_format": {}}, "response_format.type", "missing"),
    "no object": ({"response_format": "json"}, "response_format", "object"),
    "no json_schema": ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing"),
    "no schema": (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
        "response_format.json_schema.schema",
        "missing",
    ),
    "a schema beside text": (
        {"response_format": {"type": "text", "schema": {}}},
        "response_format.schema",
        "goes with",
    ),
    "not an object": (
        {"response_format": json_schema("text")},
        "response_format.json_schema.schema",
        "bool | object",
    ),
    "a wrong schema": (
        {"response_format": json_schema({"properties": {"a": {"type": "text"}}})},
        "response_format.json_schema.schema.properties.a.type",
        "text",
    ),
    "strict and unheld": (
        {"response_format": json_schema(UNIQUE, strict=True)},
        "response_format.json_schema.schema.properties.a.uniqueItems",
        "strict: false",
    ),
    "vLLM's is strict": (
        {"structured_outputs": {"json": UNIQUE}},
        "structured_outputs.json.properties.a.uniqueItems",
        "leave it out",
    ),
    "no JSON": ({"structured_outputs": {"json": "{"}}, "structured_outputs.json", "no JSON"),
    "two": ({"structured_outputs": {"regex": "a", "choice": ["a"]}}, "structured_outputs", "names 2"),
    "none": ({"structured_outputs": {"json_object": False}}, "structured_outputs", "names 0"),
    "both fields": (
        {"response_format": {"type": "json_object"}, "structured_outputs": {"regex": "a"}},
        "structured_outputs",
        "one of the two",
    ),
    "a wrong pattern": ({"structured_outputs": {"regex": "("}}, "structured_outputs.regex", "unclosed group"),
    "a wrong grammar": ({"structured_outputs": {"grammar": "start: x"}}, "structured_outputs.grammar", "unknown name"),
    "no choices": ({"structured_outputs": {"choice": []}}, "structured_outputs.choice", "texts"),
    "a choice that is no text": ({"structured_outputs": {"choice": [1]}}, "structured_outputs.choice[0]", "str"),
    "other whitespace": (
        {"structured_outputs": {"json": {}, "whitespace_pattern": " *"}},
        "structured_outputs.whitespace_pattern",
        "one line",
    ),
    "ignore_eos": (
        {"structured_outputs": {"regex": "a"}, "ignore_eos": True},
        "ignore_eos",
        "ends where the form does",
    ),
    "an older name": ({"guided_json": SCHEMA}, "guided_json", "send structured_outputs with json"),
    "llama.cpp's name": ({"json_schema": SCHEMA}, "json_schema", "response_format"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_cannot_be_held_is_refused_by_field_and_place(api: Any, case: str) -> None:
    body, param, reason = REFUSED[case]
    for stream in (False, True):
        for reply in (await api.chat(**body, stream=stream), await api.complete(**body, stream=stream)):
            error = reply.json()["error"]
            assert (reply.status_code, error["param"]) == (400, param), error
            assert reason in error["message"]
    assert api.generator.requests == []


async def test_a_long_schema_is_checked_off_the_event_loop_with_the_same_result(make_api: Any) -> None:
    wide = {"type": "object", "properties": {f"property number {i}": {"type": "string"} for i in range(400)}}
    api = make_api()
    assert (await api.chat(response_format=json_schema(wide, strict=True))).status_code == 200
    wide["properties"]["property number 77"]["not"] = {}
    reply = await api.chat(response_format=json_schema(wide, strict=True))
    assert reply.json()["error"]["param"].endswith("number 77.not")


async def events(reply: Any) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in reply.text.splitlines() if line.startswith("data: {")]
    return [json.loads(line)["choices"][0] for line in lines if json.loads(line)["choices"]]


@pytest.mark.parametrize(
    ("script", "told"),
    [('{"a":[1,2]}', None), ('{"a":[1, 1]}', "a: [1,1] has non-unique elements"), ('{"a":', "it is no JSON")],
)
async def test_what_the_grammar_leaves_open_is_checked_and_told_streamed_or_not(
    make_api: Any, script: str, told: str | None
) -> None:
    """The scripted engine follows no grammar, so it may write anything."""
    api = make_api(script)
    body = {"response_format": json_schema(UNIQUE)}
    chat, completion = (await api.chat(**body)).json()["choices"][0], (await api.complete(**body)).json()["choices"][0]
    streams = [await events(await call(**body, stream=True)) for call in (api.chat, api.complete)]
    for choice in (chat, completion, streams[0][-1], streams[1][-1]):
        assert choice["finish_reason"] == "stop"
        assert choice.get("format_error", "").startswith(told or "")
        assert ("format_error" in choice) == (told is not None)
    assert not any("format_error" in choice for stream in streams for choice in stream[:-1])
    cut = (await api.chat(**body, max_tokens=3)).json()["choices"][0]
    assert (cut["finish_reason"], "format_error" in cut) == ("length", False)


async def test_requests_of_a_form_are_counted(api: Any) -> None:
    await api.chat(structured_outputs={"regex": "a"})
    await api.chat(response_format=json_schema(SCHEMA))
    await api.chat(response_format=json_schema({"type": "text"}))
    metrics = (await api.http.get("/metrics")).text
    counts = dict(re.findall(r'llmos:grammar_requests_total\{kind="(\w+)",model_name="tiny"\} (\S+)', metrics))
    assert counts == {"regex": "1.0", "json_schema": "1.0"}
    assert "llmos:grammar_compilations_total" in metrics
    assert "llmos:grammar_compile_seconds_total" in metrics
