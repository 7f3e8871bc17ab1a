"""Lines of training files: what is taken, how it is written down, and what is said of what isn't."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmos_server.data.examples import ChatExample, Format, PreferenceExample, PromptExample, TextExample
from llmos_server.data.findings import Finder, Finding
from llmos_server.data.formats import read_example

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def call(arguments: Any = '{"a": 1}', name: str = "add", call_id: str = "c1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def read(line: dict[str, Any], format: Format = "supervised") -> tuple[Any, list[Finding]]:
    finder = Finder(7)
    return read_example(json.loads(json.dumps(line)), format, finder), finder.findings


def test_a_chat_is_written_as_the_server_writes_it() -> None:
    example, findings = read(
        {
            "messages": [
                {"role": "developer", "content": "Be brief"},
                {"role": "user", "content": [{"type": "text", "text": "Add"}]},
                {"role": "assistant", "content": None, "tool_calls": [call()], "weight": 0},
                {"role": "tool", "tool_call_id": "c1", "content": ""},
                ANSWER | {"weight": 1},
            ],
            "tools": [TOOL],
            "parallel_tool_calls": False,
        }
    )
    assert findings == []
    assert isinstance(example, ChatExample)
    assert example.line == 7
    assert example.trained == [False, False, False, False, True]
    assert [message["role"] for message in example.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert example.messages[1]["content"] == [{"type": "text", "text": "Add"}]
    assert example.messages[2] == {"role": "assistant", "content": "", "tool_calls": [call({"a": 1})]}
    assert example.tools == [TOOL]


def test_older_names_of_tools_are_read() -> None:
    answer = {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": "{}"}}
    example, findings = read({"messages": [USER, answer], "functions": [{"name": "add"}]})
    assert findings == []
    assert example.tools[0]["function"]["name"] == "add"
    assert example.messages[1]["tool_calls"][0]["function"] == {"name": "add", "arguments": {}}


@pytest.mark.parametrize(
    ("line", "field", "code", "words"),
    [
        ({"messages": [USER]}, "messages[0].role", "no_answer", "has to be the assistant's"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "messages[0].role", "wrong_role", "write assistant"),
        ({"messages": [USER, {"role": "x", "content": "x"}]}, "messages[1].role", "wrong_role", "one of system"),
        ({"messages": [{"from": "human", "value": "x"}]}, "messages[0].role", "missing_field", "{role, content}"),
        ({"messages": []}, "messages", "wrong_type", "empty list"),
        ({}, "messages", "missing_field", "list of messages"),
        ({"messages": ["hi"]}, "messages[0]", "wrong_type", "a string"),
        ({"messages": [{"role": "user", "content": " \n"}, ANSWER]}, "messages[0].content", "empty_content", "no text"),
        ({"messages": [{"role": "user"}, ANSWER]}, "messages[0].content", "missing_field", "missing"),
        ({"messages": [USER, {"role": "assistant", "content": ""}]}, "messages[1].content", "empty_content", "answer"),
        ({"messages": [{"role": "user", "content": 3}, ANSWER]}, "messages[0].content", "wrong_type", "a number"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ANSWER]},
            "messages[0].content[0].type",
            "unsupported_content",
            "text only",
        ),
        ({"messages": [USER, ANSWER | {"weight": 0}]}, "messages", "nothing_to_learn", "weight 0"),
        ({"messages": [USER, ANSWER | {"weight": True}]}, "messages[1].weight", "bad_weight", "1 (learned)"),
        ({"messages": [USER | {"weight": 1}, ANSWER]}, "messages[0].weight", "bad_weight", "user's"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [call()]}]}, "", "bad_tool_call", "none"),
        (
            {"messages": [USER, {"role": "assistant", "tool_calls": [call("[1")]}], "tools": [TOOL]},
            "messages[1].tool_calls[0].function.arguments",
            "bad_tool_call",
            "text of a JSON object",
        ),
        (
            {
                "messages": [USER, {"role": "assistant", "tool_calls": [call(), call(call_id="c2")]}],
                "tools": [TOOL],
                "parallel_tool_calls": False,
            },
            "parallel_tool_calls",
            "bad_tool_call",
            "one at a time",
        ),
        (
            {"messages": [USER, {"role": "tool", "content": "3", "tool_call_id": "c9"}, ANSWER]},
            "messages[1].tool_call_id",
            "bad_tool_call",
            "'c9'",
        ),
        ({"messages": [USER, ANSWER], "tools": [{"type": "web"}]}, "tools[0].type", "bad_tool", "only function"),
        ({"messages": [USER, ANSWER], "tools": {}}, "tools", "wrong_type", "list of functions"),
        ({"messages": [USER, ANSWER], "tools": [TOOL | {"function": {}}]}, "", "bad_tool", "A name"),
    ],
)
def test_what_is_wrong_with_a_chat_is_told_by_field(line: dict[str, Any], field: str, code: str, words: str) -> None:
    example, findings = read(line)
    assert example is None
    found = [finding for finding in findings if finding.code == code]
    assert found, findings
    assert field in (found[0].field, "")
    assert words in found[0].message
    assert found[0].line == 7


def test_all_that_is_wrong_in_a_line_is_told_at_once() -> None:
    _, findings = read({"messages": [{"role": "bot", "content": "x"}, {"role": "user", "content": ""}]})
    assert [finding.code for finding in findings] == ["wrong_role", "empty_content", "no_answer"]


def test_what_nothing_reads_is_told_and_taken() -> None:
    example, findings = read({"messages": [USER, ANSWER | {"mood": "good"}], "id": 3})
    assert example is not None
    assert [(finding.field, finding.is_error) for finding in findings] == [("id", False), ("messages[1].mood", False)]


def test_lost_characters_are_told() -> None:
    example, findings = read({"messages": [USER | {"content": "caf\ufffd"}, ANSWER]})
    assert example is not None
    assert [finding.code for finding in findings] == ["replacement_character"]


PREFERENCE = {
    "input": {"messages": [USER]},
    "preferred_output": [ANSWER],
    "non_preferred_output": [ANSWER | {"content": "Go away"}],
}


def test_a_preference_is_two_answers() -> None:
    example, findings = read(PREFERENCE, "preference")
    assert findings == []
    assert isinstance(example, PreferenceExample)
    assert example.messages == [USER]
    assert example.preferred["content"] == "Hello"
    assert example.rejected["content"] == "Go away"


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"input": None}, "input", "missing_field"),
        ({"input": {}}, "input.messages", "missing_field"),
        ({"input": {"messages": [USER, ANSWER]}}, "input.messages", "no_question"),
        ({"preferred_output": []}, "preferred_output", "wrong_type"),
        ({"preferred_output": [USER]}, "preferred_output[0].role", "wrong_role"),
        ({"preferred_output": None}, "preferred_output", "missing_field"),
        ({"non_preferred_output": [ANSWER]}, "non_preferred_output", "same_outputs"),
        ({"non_preferred_output": [ANSWER, ANSWER]}, "non_preferred_output", "wrong_type"),
        ({"non_preferred_output": [{"role": "assistant"}]}, "non_preferred_output[0].content", "empty_content"),
    ],
)
def test_what_is_wrong_with_a_preference(change: dict[str, Any], field: str, code: str) -> None:
    example, findings = read(PREFERENCE | change, "preference")
    assert example is None
    assert [(finding.field, finding.code) for finding in findings] == [(field, code)]


def test_a_reinforced_chat_keeps_what_graders_need() -> None:
    example, findings = read({"messages": [USER], "answer": {"n": 4}, "hard": True}, "reinforcement")
    assert findings == []
    assert isinstance(example, PromptExample)
    assert example.item == {"answer": {"n": 4}, "hard": True}
    _, findings = read({"messages": [USER, ANSWER]}, "reinforcement")
    assert [finding.code for finding in findings] == ["no_question"]


def test_trls_conversations_are_taken() -> None:
    example, findings = read({"prompt": [USER, ANSWER, USER], "completion": [ANSWER], "tools": [TOOL]})
    assert findings == []
    assert (example.trained, example.tools) == ([False, False, False, True], [TOOL])
    example, findings = read(
        {"prompt": [USER], "chosen": [ANSWER], "rejected": [ANSWER | {"content": "x"}]}, "preference"
    )
    assert (findings, example.rejected["content"]) == ([], "x")
    example, findings = read({"prompt": [USER], "solution": "4"}, "reinforcement")
    assert (findings, example.item) == ([], {"solution": "4"})
    example, findings = read({"prompt": "Hi", "completion": "Hello"})
    assert [finding.code for finding in findings] == ["wrong_format"]


def test_plain_texts() -> None:
    assert read({"text": "Once"}, "text") == (TextExample(line=7, text="Once"), [])
    for line, code in (({"text": " "}, "empty_content"), ({"text": 3}, "wrong_type"), ({}, "missing_field")):
        example, findings = read(line, "text")
        assert (example, findings[0].code) == (None, code)
