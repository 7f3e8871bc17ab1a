"""OpenAI's graders as rewards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from job_fakes import job_context

from llmos_server.errors import InvalidRequest
from llmos_server.training.grader_reward import GraderReward

CHECK = {
    "type": "string_check",
    "name": "equal",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}


class Told:
    def __init__(self, context: Any) -> None:
        self.settings, self.server = context.settings, context.server
        self.messages: list[str] = []

    def log(self, message: str, level: str = "info", data: Any = None) -> None:
        self.messages.append(f"{level}: {message}")


def test_each_answer_is_graded_by_its_own_item(tmp_path: Path) -> None:
    with job_context(tmp_path, "tune", {}) as context:
        told = Told(context)
        reward = GraderReward(told, CHECK)  # type: ignore[arg-type]
        items = [json.dumps({"answer": "4"}), json.dumps({"answer": "5"}), json.dumps({})]
        chat = [{"role": "assistant", "content": "4"}]
        assert reward(["?"] * 3, [chat, "4", "4"], item=items, length=[1, 1, 1]) == [1.0, 0.0, 0.0]
        assert len(told.messages) == 1
        assert told.messages[0].startswith("warn: 1 answers got no grade: ")
        assert "answer" in told.messages[0]


def test_a_grader_that_is_none_is_refused(tmp_path: Path) -> None:
    with job_context(tmp_path, "tune", {}) as context, pytest.raises(InvalidRequest, match="grader: "):
        GraderReward(context, {"type": "string_check"})
