"""Items through a model and graders, several at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from llmos_server.errors import InvalidRequest, LLMOSError
from llmos_server.evaluation.asking import ModelRefused, TokenUsage
from llmos_server.evaluation.grading import Grader, GraderFailed
from llmos_server.evaluation.sampling import Sampled, Sampler, errored
from llmos_server.evaluation.sources import DataSource, Row

FATAL = ("model_not_found", "model_not_allowed", "invalid_api_key")
"""Refusals that all items would meet; so are those of a server that can't be reached, or is too busy for long."""


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one item."""

    position: int
    status: Literal["pass", "fail", "error"]
    item: dict[str, Any]
    sample: dict[str, Any]
    results: list[dict[str, Any]]
    """A grader each: name, type, score, passed, sample, error."""
    usage: tuple[TokenUsage, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluator:
    source: DataSource
    sampler: Sampler
    graders: Sequence[Grader]
    concurrency: int = 4

    async def run(self, rows: Iterable[tuple[int, Row]], emit: Callable[[Evaluated], Awaitable[None]]) -> None:
        """emit: called with one item at a time, in the order in which they are done; what it raises ends the run.
        Raises ModelRefused where no item could be answered: an unknown model, say."""
        rows = iter(rows)
        turn = asyncio.Lock()

        async def work() -> None:
            for position, row in rows:
                done = await self.evaluate(position, row)
                async with turn:
                    await emit(done)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.concurrency):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def evaluate(self, position: int, row: Row) -> Evaluated:
        try:
            sampled = await self.sampler.sample(row)
        except (ModelRefused, InvalidRequest) as error:
            if isinstance(error, ModelRefused) and (error.code in FATAL or error.is_transient):
                raise
            sample = errored(self.source, error)
            return Evaluated(position=position, status="error", item=row.item, sample=sample, results=[])
        values = {"item": row.item, "sample": sampled.values}
        graded = await asyncio.gather(*(_grade(grader, values) for grader in self.graders))
        return _join(position, row, sampled, graded)


def _join(
    position: int, row: Row, sampled: Sampled, graded: Sequence[tuple[dict[str, Any], tuple[TokenUsage, ...]]]
) -> Evaluated:
    results = [result for result, _ in graded]
    has_failed = any("error" in result for result in results)
    passed = all(result["passed"] for result in results)
    return Evaluated(
        position=position,
        status="error" if has_failed else "pass" if passed else "fail",
        item=row.item,
        sample=sampled.shown,
        results=results,
        usage=(*sampled.usage, *(call for _, calls in graded for call in calls)),
    )


async def _grade(grader: Grader, values: dict[str, Any]) -> tuple[dict[str, Any], tuple[TokenUsage, ...]]:
    head = {"name": grader.name, "type": grader.type}
    try:
        grade = await grader.grade(values)
    except LLMOSError as error:
        usage = error.usage if isinstance(error, GraderFailed) else ()
        kind = error.kind if isinstance(error, GraderFailed) else "invalid_variable_error"
        told = {"code": kind, "message": str(error)}
        return {**head, "score": 0.0, "passed": False, "sample": None, "error": told}, usage
    result = {**head, "score": grade.score, "passed": grade.passed, "sample": grade.sample}
    if grade.sub_scores:
        result["sub_scores"] = grade.sub_scores
    return result, grade.usage
