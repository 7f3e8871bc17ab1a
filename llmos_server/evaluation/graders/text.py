"""Graders that compare two texts: string_check and text_similarity."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.asking import ModelRefused, Models, TokenUsage, cosine, embed
from llmos_server.evaluation.graders.spec import StringCheck, TextSimilarity
from llmos_server.evaluation.grading import Grade, GraderFailed
from llmos_server.evaluation.metrics.overlap import METRICS
from llmos_server.evaluation.templates import Template

MAX_CHARACTERS = 20_000
"""Of each text that is compared by more than equality: METEOR's and ROUGE-L's time grows with the square."""


class StringCheckGrader:
    type = "string_check"

    def __init__(self, spec: StringCheck, where: str) -> None:
        """Raises InvalidRequest."""
        self.name = spec.name
        self._operation = spec.operation
        self._input = Template(spec.input, f"{where}.input")
        self._reference = Template(spec.reference, f"{where}.reference")

    async def grade(self, values: Mapping[str, Any]) -> Grade:
        text, reference = self._input.render(values), self._reference.render(values)
        passed = {
            "eq": text == reference,
            "ne": text != reference,
            "like": reference in text,
            "ilike": reference.casefold() in text.casefold(),
        }[self._operation]
        return Grade(score=float(passed), passed=passed, sample={"input": text, "reference": reference})


class TextSimilarityGrader:
    type = "text_similarity"

    def __init__(self, spec: TextSimilarity, models: Models, where: str) -> None:
        """Raises InvalidRequest."""
        self.name = spec.name
        self._metric = spec.evaluation_metric
        self._threshold = spec.pass_threshold
        self._model = spec.model
        self._models = models
        self._input = Template(spec.input, f"{where}.input")
        self._reference = Template(spec.reference, f"{where}.reference")
        if spec.model is not None and spec.evaluation_metric != "cosine":
            raise InvalidRequest(
                f"{where}.model goes with the metric cosine; {spec.evaluation_metric} asks no model.",
                param=f"{where}.model",
            )
        if spec.evaluation_metric != "cosine":
            METRICS[spec.evaluation_metric]("a", "a")  # Its package is there, or this tells.

    async def grade(self, values: Mapping[str, Any]) -> Grade:
        text, reference = self._input.render(values), self._reference.render(values)
        if max(len(text), len(reference)) > MAX_CHARACTERS:
            raise GraderFailed(
                f"{self.name}: texts of more than {MAX_CHARACTERS} characters aren't compared by {self._metric}.",
                "truncated_observation_error",
            )
        usage: tuple[TokenUsage, ...] = ()
        if self._metric == "cosine":
            score, usage = await self._compare_vectors(text, reference)
        else:
            score = await asyncio.to_thread(METRICS[self._metric], text, reference)
        passed = self._threshold is None or score >= self._threshold
        return Grade(score=score, passed=passed, sample={"input": text, "reference": reference}, usage=usage)

    async def _compare_vectors(self, text: str, reference: str) -> tuple[float, tuple[TokenUsage, ...]]:
        if not text or not reference:
            return float(text == reference), ()  # Models embed no empty text.
        try:
            vectors, usage = await embed(self._models, [text, reference], self._model)
        except ModelRefused as error:
            raise GraderFailed(f"{self.name}: {error}", "model_grader_server_error") from None
        return cosine(*vectors), (usage,)
