"""The grader multi: several graders, and a formula of their scores."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.graders.formula import Formula
from llmos_server.evaluation.graders.spec import Multi
from llmos_server.evaluation.grading import Grade, Grader, GraderFailed

PASSING = 0.5


class MultiGrader:
    type = "multi"

    def __init__(self, spec: Multi, graders: Mapping[str, Grader], where: str) -> None:
        """graders: by the names in the formula. Raises InvalidRequest."""
        self.name = spec.name
        self._graders = graders
        self._threshold = PASSING if spec.pass_threshold is None else spec.pass_threshold
        self._formula = Formula(spec.calculate_output, f"{where}.calculate_output")
        if unknown := sorted(self._formula.names - set(graders)):
            raise InvalidRequest(
                f"{where}.calculate_output: there is no grader {unknown[0]!r}; there are: {', '.join(graders)}.",
                param=f"{where}.calculate_output",
                code="formula_parse_error",
            )

    async def grade(self, values: Mapping[str, Any]) -> Grade:
        grades = await asyncio.gather(*(grader.grade(values) for grader in self._graders.values()))
        scores = {name: grade.score for name, grade in zip(self._graders, grades, strict=True)}
        usage = tuple(call for grade in grades for call in grade.usage)
        try:
            score = self._formula.compute(scores)
        except (ArithmeticError, ValueError) as error:
            raise GraderFailed(
                f"{self.name}: {self._formula.text[:80]} can't be computed ({error}).", "other_error", usage=usage
            ) from None
        sample = {"scores": scores, **{name: grade.sample for name, grade in zip(scores, grades, strict=True)}}
        return Grade(score=score, passed=score >= self._threshold, sample=sample, sub_scores=scores, usage=usage)
