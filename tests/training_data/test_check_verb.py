"""`llmos data check`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmos_server.cli import main
from llmos_server.data.examples import ChatExample, PreferenceExample, PromptExample, TextExample
from llmos_server.data.lengths import RenderedLengths

CHAT = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}


def run(capsys: pytest.CaptureFixture[str], *words: Any) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        main(["data", "check", *map(str, words)])
    return int(str(caught.value.code or 0)), capsys.readouterr().out


def test_a_file_is_told_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(CHAT)}\n" * 2)
    status, told = run(capsys, path)
    assert status == 0
    assert told.splitlines() == [
        "line 2: It says the same as line 1; both are kept.",
        "2 lines: 2 examples (1 repeat others), 0 blank; all can be trained on",
    ]
    path.write_text(f"{json.dumps(CHAT)}\nno\n")
    status, told = run(capsys, path)
    assert (status, told.splitlines()[0][:28]) == (1, "line 2: The line is no JSON.")
    assert json.loads(run(capsys, path, "--json")[1])["num_bad"] == 1


def test_lengths_are_those_of_the_served_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], smollm2: Any
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(CHAT)}\n")
    status, told = run(capsys, path, "--model", "smollm2:135m", "--max-tokens", "20")
    assert status == 1
    assert "more than the 20 that fit" in told


class Counting:
    """A renderer, as RenderedLengths uses it."""

    def encode_chat(self, messages: Any, *, add_generation_prompt: bool, **options: Any) -> list[int]:
        return [0] * (sum(len(message["content"]) for message in messages) + 100 * add_generation_prompt)

    def encode(self, text: str, **options: Any) -> list[int]:
        return [0] * len(text)


def test_each_kind_of_example_has_a_length() -> None:
    lengths = RenderedLengths(Counting(), 10)  # type: ignore[arg-type]
    ask, answer = {"role": "user", "content": "abc"}, {"role": "assistant", "content": "de"}
    assert lengths.count(ChatExample(line=1, messages=[ask, answer], trained=[False, True])) == 5
    other = {"role": "assistant", "content": "longer"}
    assert lengths.count(PreferenceExample(line=1, messages=[ask], preferred=answer, rejected=other)) == 9
    assert lengths.count(PromptExample(line=1, messages=[ask], item={})) == 103
    assert lengths.count(TextExample(line=1, text="abcd")) == 4
