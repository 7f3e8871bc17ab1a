"""What no parser comes back from ends in a process of its own, and the next call finds a new one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from llmos_server.chat.answer_check import UNCHECKED, AnswerCheck, explain_mismatch
from llmos_server.chat.deltas import TextDelta
from llmos_server.chat.grammars import json_grammar, lark_grammar
from llmos_server.chat.guarded import ARGV, GuardedProcess, TooComplex
from llmos_server.errors import InvalidRequest

EVERLASTING: dict[str, Any] = {
    "multiples": {"type": "integer", "multipleOf": 99999999},
    "patterns": {"allOf": [{"type": "string", "pattern": f"(a|b)*{'ab'[i % 2]}(a|b){{{i}}}"} for i in range(1, 25)]},
}
DEEP = "start: r0\n" + "\n".join(f"r{i}: r{i + 1} r{i + 1}" for i in range(3000)) + '\nr3000: "a"'
DOUBLING = {"anyOf": [{"type": "array", "items": {"$ref": "#"}, "contains": {"const": i}} for i in range(2)]}


@pytest.fixture
def guard() -> Iterator[GuardedProcess]:
    """Less patient than the server's."""
    process = GuardedProcess((*ARGV[:-2], "0.5", ARGV[-1]))
    yield process
    process.close()


def test_results_and_errors_are_those_of_the_function(guard: GuardedProcess) -> None:
    assert guard.call(explain_mismatch, {"type": "null"}, "null") is None
    assert guard.call(explain_mismatch, {"type": "null"}, "1") == '1 is not of type "null"'
    made = guard.call(json_grammar, {"not": {"type": "null"}}, strict=False, param="p")
    assert made.check == {"not": {"type": "null"}}
    with pytest.raises(InvalidRequest) as caught:
        guard.call(json_grammar, {"type": "text"}, strict=True, param="p")
    assert (caught.value.param, caught.value.code) == ("p.type", "invalid_schema")


@pytest.mark.parametrize("name", EVERLASTING)
def test_what_never_ends_is_ended(guard: GuardedProcess, name: str) -> None:
    with pytest.raises(TooComplex):
        guard.call(json_grammar, EVERLASTING[name], strict=True, param="p")
    assert guard.call(explain_mismatch, {"type": "null"}, "null") is None


def test_what_overflows_a_stack_is_refused_by_its_field() -> None:
    with pytest.raises(InvalidRequest, match="too complex") as caught:
        lark_grammar(DEEP, param="p")
    assert (caught.value.param, caught.value.code) == ("p", "too_complex")
    chain = {f"l{i}": {"$ref": f"#/$defs/l{i + 1}"} for i in range(1500)}
    with pytest.raises(InvalidRequest, match="too complex"):
        json_grammar({"$defs": chain | {"l1500": {}}, "$ref": "#/$defs/l0"}, strict=False, param="p")
    assert lark_grammar('start: "a"', param="p").text


def test_a_process_that_was_ended_is_started_again(guard: GuardedProcess) -> None:
    guard.call(explain_mismatch, {}, "null")
    guard.close()
    assert guard.call(explain_mismatch, {}, "null") is None


async def test_an_answer_that_cannot_be_checked_says_so(monkeypatch: pytest.MonkeyPatch, guard: GuardedProcess) -> None:
    monkeypatch.setattr("llmos_server.chat.answer_check.shared_guard", lambda: guard)
    for depth, expected in (
        (40, UNCHECKED),
        (1, "[] is not valid under any of the schemas listed in the 'anyOf' keyword"),
    ):
        check = AnswerCheck(DOUBLING)
        answer = "[" * depth + "]" * depth
        text = TextDelta(index=0, text=answer, tokens=None, token_ids=[], finish_reason="stop", num_tokens=0, stop=None)
        assert (await check.feed(text)).format_error == expected
