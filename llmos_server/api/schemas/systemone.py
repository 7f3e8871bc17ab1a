"""Wire structs of /v1/systemone, in the shapes of TypeSafe's System One API."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from llmos_server.api.schemas.common import AdapterChoice

MAX_QUESTIONS = 64
MAX_OPTIONS = 255
MIN_LEVELS, MAX_LEVELS = 2, 10

MAX_NAME_LENGTH = 256

Content = str | dict[str, Any] | list[Any]
"""Text, or anything that is read as JSON."""


QuestionName = Annotated[str, Meta(max_length=MAX_NAME_LENGTH)]


class DecisionQuestion(Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["choice", "score", "noul"]
    instructions: Content
    criteria: dict[str, Content | None] | list[Content] | None = None
    """choice: option -> description or null. score: the levels, lowest first. noul: what true and false mean."""


class SystemOneRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    state: Content
    questions: Annotated[dict[QuestionName, DecisionQuestion], Meta(min_length=1, max_length=MAX_QUESTIONS)]
    """By names of the client's own, which the model doesn't see."""
    model: str | None = None
    adapter: AdapterChoice | None = None
    calibrated: bool | None = None
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] | None = None
    cache_salt: Annotated[str, Meta(max_length=256)] | None = None


class ChoiceAnswer(Struct, kw_only=True, tag_field="type", tag="choice"):
    choice: str
    """The most probable option."""
    probabilities: dict[str, float]
    confidence: float
    """0: all options are as likely; 1: it can only be this one."""


class ScoreAnswer(Struct, kw_only=True, tag_field="type", tag="score"):
    score: float
    """The expected level, from 0 on."""
    legend: dict[str, Content]
    probabilities: dict[str, float]
    confidence: float
    """0: as spread as if all levels were as likely; 1: it can only be one level."""


class NoulAnswer(Struct, kw_only=True, tag_field="type", tag="noul"):
    noul: float
    """The probability that it is true."""


DecisionAnswer = ChoiceAnswer | ScoreAnswer | NoulAnswer


class InputTokensDetails(Struct, kw_only=True):
    cached_tokens: int
    """Extension: computed before, or for another of the questions."""


class DecisionUsage(Struct, kw_only=True):
    input_tokens: int
    """Of the prompts of all questions; each holds the state."""
    input_tokens_details: InputTokensDetails
    output_tokens: int = 0
    """Nothing is generated."""


class AppliedCalibration(Struct, kw_only=True):
    temperature: float
    bias: float
    num_rows: int


class SystemOneResponse(Struct, kw_only=True):
    model: str
    answers: dict[str, DecisionAnswer]
    usage: DecisionUsage
    model_digest: str
    """Extension."""
    calibration: dict[str, AppliedCalibration]
    """Extension: by type of question, what the probabilities were adjusted by; empty where nothing was measured."""
