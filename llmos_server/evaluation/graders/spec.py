"""What graders are, as clients describe them: OpenAI's objects, with what is ours marked so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

MAX_TEXT = 100_000
"""Characters of a template, or of a program."""
MAX_MESSAGES = 64
MAX_LABELS = 256

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Metric = Literal[
    "cosine",
    "fuzzy_match",
    "bleu",
    "chrf",
    "gleu",
    "meteor",
    "rouge_1",
    "rouge_2",
    "rouge_3",
    "rouge_4",
    "rouge_5",
    "rouge_l",
]
"""chrf is an extension."""
Role = Literal["user", "assistant", "system", "developer"]


class Message(Struct, kw_only=True, omit_defaults=True):
    """content: a template, a part {"type": "input_text" or "output_text", "text": ...}, or a list of these."""

    role: Role
    content: Any
    type: Literal["message"] | None = None


class _Named(Struct, kw_only=True, omit_defaults=True, tag_field="type"):
    name: Name


class StringCheck(_Named, kw_only=True, tag="string_check"):
    input: Text
    reference: Text
    operation: Literal["eq", "ne", "like", "ilike"]


class TextSimilarity(_Named, kw_only=True, tag="text_similarity"):
    input: Text
    reference: Text
    evaluation_metric: Metric
    pass_threshold: float | None = None
    model: str | None = None
    """Extension: whose embeddings cosine compares; None: the server's default."""


class LabelModel(_Named, kw_only=True, tag="label_model"):
    model: str
    input: Annotated[list[Message], Meta(min_length=1, max_length=MAX_MESSAGES)]
    labels: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=MAX_LABELS)]
    passing_labels: Annotated[list[str], Meta(min_length=1)]


class GraderSampling(Struct, kw_only=True, omit_defaults=True):
    seed: int | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_completions_tokens: Annotated[int, Meta(ge=1)] | None = None
    """OpenAI's name."""
    reasoning_effort: str | None = None


class ScoreModel(_Named, kw_only=True, tag="score_model"):
    model: str
    input: Annotated[list[Message], Meta(min_length=1, max_length=MAX_MESSAGES)]
    range: Annotated[list[float], Meta(min_length=2, max_length=2)] | None = None
    pass_threshold: float | None = None
    sampling_params: GraderSampling | None = None


class Python(_Named, kw_only=True, tag="python"):
    source: Text
    pass_threshold: float | None = None


Single = StringCheck | TextSimilarity | LabelModel | ScoreModel | Python


class Multi(_Named, kw_only=True, tag="multi"):
    graders: Annotated[dict[str, Any], Meta(min_length=1, max_length=64)]
    """Single graders by the names that calculate_output calls them; or one of them, called by its own name."""
    calculate_output: Annotated[str, Meta(min_length=1, max_length=2000)]
    pass_threshold: float | None = None


GraderSpec = StringCheck | TextSimilarity | LabelModel | ScoreModel | Python | Multi
