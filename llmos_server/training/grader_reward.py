"""OpenAI's graders as a reward: what TRL calls with a batch of answers. Torch-free."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx2
import msgspec

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.asking import HttpModels
from llmos_server.evaluation.graders.create import Means, create_grader
from llmos_server.evaluation.graders.spec import GraderSpec
from llmos_server.evaluation.grading import Grader, GraderFailed, sample_of
from llmos_server.evaluation.sandboxing import GraderSandbox
from llmos_server.evaluation.templates import MissingVariable
from llmos_server.job_contracts import JobContext

ITEM = "item"
"""The column that holds each line's own fields, as JSON: columns of datasets have one shape, and lines have any."""


class GraderReward:
    """Called as TRL calls rewards: with lists, of which each has an entry for each answer. An answer that can't be
    graded gets 0, as at OpenAI's, and the job's owner is told why once a batch."""

    __name__ = "grader"

    def __init__(self, context: JobContext, grader: dict[str, Any]) -> None:
        """Raises InvalidRequest, and SettingsError where programs are allowed and this machine can hold none."""
        self._context = context
        try:
            self._spec = msgspec.convert(grader, GraderSpec)
        except msgspec.ValidationError as error:
            raise InvalidRequest(f"grader: {error}", param="method.reinforcement.grader") from None
        self._sandbox = GraderSandbox(context.settings.evals).open()
        self._failures: list[str] = []

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Sequence[Any]) -> list[float]:
        items = [msgspec.json.decode(text) for text in columns[ITEM]]
        rewards = asyncio.run(self._grade(items, [text_of(completion) for completion in completions]))
        if self._failures:
            self._context.log(f"{len(self._failures)} answers got no grade: {self._failures[0]}", "warn")
            self._failures = []
        return rewards

    async def _grade(self, items: list[dict[str, Any]], answers: list[str]) -> list[float]:
        server = self._context.server
        headers = {"Authorization": f"Bearer {server.key}"}
        async with httpx2.AsyncClient(base_url=server.base_url, headers=headers, timeout=None) as http:
            grader = create_grader(self._spec, Means(HttpModels(http), self._sandbox))
            both = zip(items, answers, strict=True)
            return list(await asyncio.gather(*(self._grade_one(grader, item, answer) for item, answer in both)))

    async def _grade_one(self, grader: Grader, item: dict[str, Any], answer: str) -> float:
        try:
            return (await grader.grade({"item": item, "sample": sample_of(answer)})).score
        except (GraderFailed, MissingVariable) as error:
            self._failures.append(str(error))
            return 0.0


def text_of(completion: Any) -> str:
    """TRL gives chats as lists of messages, and all else as text."""
    if isinstance(completion, str):
        return completion
    return "".join(str(message.get("content") or "") for message in completion)
