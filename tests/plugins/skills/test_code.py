"""The skill `code`: code is found in whatever a model writes around it, parsed, asked for once more, and told."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llmos_plugins.code.extracting import find_code, read_blocks
from llmos_plugins.code.gaps import find_gap
from llmos_plugins.code.languages import find_error
from llmos_plugins.code.skill import Code

ADD = "def add(a, b):\n    return a + b"
BROKEN = "def add(a, b:\n    return a + b"


@pytest.fixture
def code(make_ask):
    """code(replies, **fields): the body of a run whose model gives one reply after the other."""

    async def run(replies: list[str] | str, *, status: int = 200, **fields: Any) -> Any:
        left = [replies] if isinstance(replies, str) else list(replies)
        run.ask = make_ask("code", lambda _: left.pop(0))
        given = {"task": "write", "instruction": "Write add(a, b).", **fields}
        reply = await run.ask.api.post("/v1/skills/code/run", given)
        assert reply.status_code == status, reply.text
        body = reply.json()
        return body if status == 200 else body["error"]

    return run


class TestWrite:
    @pytest.mark.parametrize(
        "reply",
        [
            f"```python\n{ADD}\n```",
            f"Sure! Here it is:\n\n```py\n{ADD}\n```\nIt adds two numbers. Enjoy!",
            f"```\n{ADD}\n```",
            f"~~~~ python title=add\n{ADD}\n~~~~",
            f"```python\n{ADD}",
            ADD,
            f"Sure, here is the function:\n\n{ADD}\n\nIt adds two numbers, doesn't it?",
            f"```bash\npip install it now\n```\nand\n```python\n{ADD}\n```\nRun it:\n```python\nadd(1, 2)\n```",
            f"```javascript\n{ADD}\n```",
            f"Use this:\n```js\nfunction add(a, b) {{ return a + b }}\n```\nor\n```Python\n{ADD}\n```",
        ],
    )
    async def test_code_is_found_in_chatter(self, code, reply):
        body = await code(reply)
        assert body["result"] == ADD
        details = body["details"]
        assert (details["parses"], details["parse_error"], details["attempts"]) == (True, "", 1)

    async def test_what_does_not_parse_is_asked_for_again_with_the_error(self, code):
        body = await code([f"```python\n{BROKEN}\n```", f"Sorry!\n```python\n{ADD}\n```"])
        assert (body["result"], body["details"]["attempts"]) == (ADD, 2)
        assert body["details"]["parses"] is True
        first, second = code.ask.requests
        assert second[: len(first)] == first
        assert [role for role, _ in second[len(first) :]] == ["assistant", "user"]
        assert "line 1: " in second[-1][1]

    @pytest.mark.parametrize(
        ("reply", "error"),
        [
            (f"```python\n{BROKEN}\n```", "line 1"),
            ("", "no code"),
            ("  \n", "no code"),
            ("```python\n```", "line 1"),
            ("Sorry", "only words"),
            ("I can't do that.", "line 1"),
            ("```js\nfunction add(a, b) { return a + b }\n```", "line 1"),
            ("```python\nx = '\0'\n```", "null"),
            ("(" * 300, "parenthes"),
            ("-" * 100_000 + "1", "deep"),
        ],
    )
    async def test_after_a_second_failure_the_error_is_told(self, code, reply, error):
        body = await code([reply, reply], max_tokens=32768)
        details = body["details"]
        assert (details["parses"], details["attempts"] in (1, 2)) == (False, True)
        assert error in details["parse_error"]

    async def test_a_second_try_that_has_no_room_is_left_out(self, code):
        details = (await code("x " * 3200, max_tokens=6400))["details"]
        assert (details["attempts"], details["parses"]) == (1, False)

    async def test_a_cut_answer_is_told(self, code):
        details = (await code([ADD + "\n" * 50, ADD + "\n" * 50], max_tokens=20))["details"]
        assert details["is_cut"] is True

    async def test_other_languages(self, code):
        for language, reply, parses, result in (
            ("json", 'Here:\n{"a": [1]}\nbye', True, '{"a": [1]}'),
            ("toml", "```toml\na = 1\n```", True, "a = 1"),
            ("rust", "```rust\nfn f( {\n```", None, "fn f( {"),
            ("c++", "int x;", None, "int x;"),
        ):
            body = await code(reply, language=language)
            assert (body["result"], body["details"]["parses"]) == (result, parses)
        body = await code(['{"a": NaN}'] * 2, language="json")
        assert "NaN" in body["details"]["parse_error"]


class TestOtherTasks:
    async def test_fix_sends_the_code(self, code):
        body = await code(f"```python\n{ADD}\n```", task="fix", code=BROKEN, instruction="It fails.")
        assert body["result"] == ADD
        assert BROKEN in code.ask.requests[0][-1][1]

    async def test_infill_gives_the_gap_and_the_whole(self, code):
        whole = "def f(x):\n    for i in x:\n        <FILL>\n    return y\n"
        for reply in (
            "```python\ny = i\nprint(y)\n```",
            "        y = i\n        print(y)",
            "```python\ndef f(x):\n    for i in x:\n        y = i\n        print(y)\n    return y\n```",
        ):
            body = await code(reply, task="infill", code=whole)
            assert body["result"] == "y = i\n        print(y)"
            assert body["details"]["code"] == whole.replace("<FILL>", body["result"])
            assert body["details"]["parses"] is True

    async def test_explain_is_text_and_streams(self, code):
        body = await code("It adds ```a``` and b.", task="explain", code=ADD)
        assert body["result"] == "It adds ```a``` and b."
        assert body["details"]["parses"] is None

    async def test_review_has_lines_that_there_are(self, code):
        finding = {"line": 2, "severity": "hint", "problem": "p", "suggestion": "s"}
        body = await code(json.dumps({"findings": [finding]}), task="review", code=ADD)
        assert body["result"] == [finding]
        request = code.ask.api.generator.requests[0]
        assert '"maximum":2' in request.sampling.grammar.replace(" ", "")
        assert "2:     return a + b" in code.ask.requests[0][-1][1]

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"task": "compile"}, "task"),
            ({"task": "fix"}, "code"),
            ({"task": "review", "code": " "}, "code"),
            ({"task": "infill", "code": ADD}, "code"),
            ({"task": "infill", "code": "<FILL> <FILL>"}, "code"),
            ({"instruction": ""}, "instruction"),
            ({"language": "py thon"}, "language"),
            ({"max_tokens": 0}, "max_tokens"),
        ],
    )
    async def test_what_cant_be_done_is_refused_by_its_field(self, code, fields, param):
        assert (await code("", status=400, **fields))["param"] == param


@given(st.text(max_size=300), st.sampled_from(["python", "json", "toml", "rust"]))
def test_anything_that_a_model_writes(reply, language):
    found = find_code(reply, language)
    assert found.strip("\n") in reply.replace("\r\n", "\n") or "\n".join(reply.splitlines()).find(found) >= 0
    assert isinstance(find_error(language, found), str)


@given(st.lists(st.sampled_from(["```", "~~~", "````", "```python", "x = 1", "", "words"]), max_size=12))
def test_fences_in_any_order(lines):
    for block in read_blocks("\n".join(lines)):
        assert block.text.strip()
        assert block.text in "\n".join(lines)


@given(st.text("ab \n", max_size=20), st.text("ab \n", max_size=20), st.text("ab \n", max_size=40))
def test_a_gap_keeps_what_stands_around_it(before, after, written):
    gap = find_gap(before + "<FILL>" + after, "<FILL>")
    whole = gap.fill(gap.fit(written))
    assert whole.startswith(before)
    assert whole.endswith(after)


def test_the_cases_have_solutions_that_parse():
    cases = Code().cases()
    assert len(cases) >= 20
    for case in cases:
        solution, tests = case.expected["solution"], case.expected["tests"]
        if case.input["task"] == "infill":
            solution = case.input["code"].replace("<FILL>", solution)
        ast.parse(solution + "\n" + tests)
