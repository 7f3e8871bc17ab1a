"""Graders that ask a model: label_model and score_model. The form of its answer is enforced by a grammar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.asking import ModelRefused, Models, TokenUsage, usage_of
from llmos_server.evaluation.graders.messages import MessageTemplates
from llmos_server.evaluation.graders.spec import GraderSampling, LabelModel, ScoreModel
from llmos_server.evaluation.grading import Grade, GraderFailed

MAX_TOKENS = 1024


class LabelModelGrader:
    type = "label_model"

    def __init__(self, spec: LabelModel, models: Models, where: str) -> None:
        """Raises InvalidRequest."""
        self.name = spec.name
        self._passing = set(spec.passing_labels)
        unknown = [label for label in spec.passing_labels if label not in spec.labels]
        if unknown:
            raise InvalidRequest(
                f"{where}.passing_labels: {unknown[0][:80]!r} is none of the labels.", param=f"{where}.passing_labels"
            )
        self._messages = MessageTemplates(spec.input, f"{where}.input")
        schema = {"type": "string", "enum": list(dict.fromkeys(spec.labels))}
        self._asking = _Asking(models, spec.model, "label", schema, None)

    async def grade(self, values: Mapping[str, Any]) -> Grade:
        label, sample, usage = await self._asking.ask(self._messages.render(values))
        passed = label in self._passing
        return Grade(score=float(passed), passed=passed, sample={"label": label, **sample}, usage=(usage,))


class ScoreModelGrader:
    type = "score_model"

    def __init__(self, spec: ScoreModel, models: Models, where: str) -> None:
        """Raises InvalidRequest."""
        self.name = spec.name
        self._low, self._high = spec.range or (0.0, 1.0)
        if not self._low < self._high:
            raise InvalidRequest(f"{where}.range: the first number is below the second.", param=f"{where}.range")
        self._threshold = (self._low + self._high) / 2 if spec.pass_threshold is None else spec.pass_threshold
        self._messages = MessageTemplates(spec.input, f"{where}.input")
        schema = {"type": "number", "minimum": self._low, "maximum": self._high}
        self._asking = _Asking(models, spec.model, "score", schema, spec.sampling_params)

    async def grade(self, values: Mapping[str, Any]) -> Grade:
        score, sample, usage = await self._asking.ask(self._messages.render(values))
        if isinstance(score, bool) or not isinstance(score, int | float) or not self._low <= score <= self._high:
            raise GraderFailed(
                f"{self.name}: the model answered {str(score)[:80]}, which is no number from {self._low:g} to "
                f"{self._high:g}.",
                "model_grader_parse_error",
                usage=(usage,),
            )
        return Grade(score=float(score), passed=score >= self._threshold, sample=sample, usage=(usage,))


class _Asking:
    def __init__(
        self, models: Models, model: str, field: str, schema: dict[str, Any], sampling: GraderSampling | None
    ) -> None:
        """field: the one of the answer's object, and its schema. At temperature 0 unless `sampling` says otherwise."""
        self._models = models
        self._field = field
        form = {"type": "object", "properties": {field: schema}, "required": [field], "additionalProperties": False}
        sampling = sampling or GraderSampling()
        self._body: dict[str, Any] = {
            "model": model,
            "temperature": 0 if sampling.temperature is None else sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            "reasoning_effort": sampling.reasoning_effort,
            "max_completion_tokens": sampling.max_completions_tokens or MAX_TOKENS,
            "response_format": {"type": "json_schema", "json_schema": {"name": field, "schema": form, "strict": True}},
        }

    async def ask(self, messages: list[dict[str, str]]) -> tuple[Any, dict[str, Any], TokenUsage]:
        """What the field holds, what to show of the call, and what it took. Raises GraderFailed."""
        try:
            answer = await self._models.post("/v1/chat/completions", {**self._body, "messages": messages})
        except ModelRefused as error:
            raise GraderFailed(f"The model {self._body['model']}: {error}", "model_grader_server_error") from None
        usage, choice = usage_of(answer), answer["choices"][0]
        text = choice["message"].get("content") or ""
        try:
            value = msgspec.json.decode(text)[self._field]
        except (msgspec.DecodeError, KeyError, TypeError):
            why = (
                f"it was cut at {usage.completion_tokens} tokens" if choice["finish_reason"] == "length" else "no such"
            )
            raise GraderFailed(
                f"The model {answer['model']} answered {text[:80]!r}, which isn't what was asked for ({why}).",
                "model_grader_parse_error",
                usage=(usage,),
            ) from None
        return value, {"model": answer["model"], "output": text, "input": messages}, usage
