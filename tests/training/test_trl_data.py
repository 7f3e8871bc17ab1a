"""TRL's files become OpenAI's, line by line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmos_server.data.examples import ChatExample, PreferenceExample
from llmos_server.data.reading import read_examples
from llmos_server.data.scanning import Scan
from llmos_server.training.trl_data import copy_as_openai

ASK: dict[str, Any] = {"role": "user", "content": "a"}
TOLD: dict[str, Any] = {"role": "assistant", "content": "b"}
OTHER: dict[str, Any] = {"role": "assistant", "content": "c"}


def convert(tmp_path: Path, *lines: Any) -> Path:
    source, target = tmp_path / "trl.jsonl", tmp_path / "openai.jsonl"
    source.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    copy_as_openai(source, target)
    return target


def test_an_answer_within_the_prompt_is_not_learned(tmp_path: Path) -> None:
    path = convert(tmp_path, {"prompt": [ASK, TOLD, ASK], "completion": [OTHER]})
    [example] = read_examples(path, Scan("supervised"))
    assert isinstance(example, ChatExample)
    assert example.trained == [False, False, False, True]


def test_preferences(tmp_path: Path) -> None:
    path = convert(tmp_path, {"prompt": [ASK], "chosen": [TOLD], "rejected": [OTHER]})
    [example] = read_examples(path, Scan("preference"))
    assert isinstance(example, PreferenceExample)
    assert (example.preferred["content"], example.rejected["content"]) == ("b", "c")


@pytest.mark.parametrize("line", [{"messages": [ASK, TOLD]}, {"prompt": "a", "completion": "b"}, "no JSON", "", "[1]"])
def test_all_else_stays_as_it_is(tmp_path: Path, line: Any) -> None:
    path = convert(tmp_path, {"messages": []}, line)
    assert path.read_text().splitlines()[1] == (line if isinstance(line, str) else json.dumps(line))
