"""What a grader is to whoever runs one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, Protocol

import msgspec

from llmos_server.errors import LLMOSError
from llmos_server.evaluation.asking import TokenUsage

FailureKind = Literal[
    "formula_parse_error",
    "sample_parse_error",
    "truncated_observation_error",
    "unresponsive_reward_error",
    "invalid_variable_error",
    "other_error",
    "python_grader_server_error",
    "python_grader_runtime_error",
    "model_grader_server_error",
    "model_grader_refusal_error",
    "model_grader_parse_error",
]
"""OpenAI's names."""


class Grade(msgspec.Struct, frozen=True, kw_only=True):
    score: float
    passed: bool
    sample: dict[str, Any] | None = None
    """What it was made of: what was compared, or what a model has answered."""
    sub_scores: dict[str, float] = {}
    """Of a multi grader's."""
    usage: tuple[TokenUsage, ...] = ()


class GraderFailed(LLMOSError):
    """There is no grade: told with the item, and no score."""

    def __init__(self, message: str, kind: FailureKind, *, usage: tuple[TokenUsage, ...] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.usage = usage


class Grader(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def type(self) -> str:
        """As in its description: "string_check"."""
        ...

    async def grade(self, values: Mapping[str, Any]) -> Grade:
        """values: "item" and "sample". Raises GraderFailed, and MissingVariable."""
        ...


def sample_of(text: str, **more: Any) -> dict[str, Any]:
    """The namespace `sample` of an answer. output_json is there where the text is JSON."""
    sample: dict[str, Any] = {"output_text": text, **more}
    with suppress(msgspec.DecodeError, RecursionError):
        sample["output_json"] = msgspec.json.decode(text)
    return sample
