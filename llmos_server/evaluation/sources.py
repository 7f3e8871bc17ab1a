"""Where a run's items and answers come from, as clients describe it: OpenAI's objects."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from llmos_server.evaluation.graders.spec import MAX_MESSAGES, Message

MAX_ROWS = 100_000
DEFAULT_TEMPERATURE = 1.0
DEFAULT_SEED = 42
DEFAULT_MAX_TOKENS = 1024


class Row(Struct, kw_only=True, omit_defaults=True):
    """A line of a file, too."""

    item: dict[str, Any]
    sample: dict[str, Any] | None = None
    """An answer that was given elsewhere: output_text, and what else graders name."""


class _Typed(Struct, kw_only=True, omit_defaults=True, tag_field="type"): ...


class FileContent(_Typed, kw_only=True, tag="file_content"):
    content: Annotated[list[Row], Meta(min_length=1, max_length=MAX_ROWS)]


class FileId(_Typed, kw_only=True, tag="file_id"):
    id: Annotated[str, Meta(min_length=1, max_length=64)]


class StoredResponses(_Typed, kw_only=True, tag="responses"):
    """The owner's own, which all that is given holds for: the newest `limit`."""

    model: str | None = None
    metadata: dict[str, Any] | None = None
    instructions_search: str | None = None
    created_after: Annotated[int, Meta(ge=0)] | None = None
    """Unix seconds, included, both."""
    created_before: Annotated[int, Meta(ge=0)] | None = None
    reasoning_effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    users: list[str] | None = None
    """One of these."""
    tools: list[str] | None = None
    """With one of these."""
    limit: Annotated[int, Meta(ge=1, le=MAX_ROWS)] | None = None
    """OpenAI's guide has it, their document doesn't."""


Source = FileContent | FileId


class TemplateMessages(_Typed, kw_only=True, tag="template"):
    template: Annotated[list[Message], Meta(min_length=1, max_length=MAX_MESSAGES)]


class ItemReference(_Typed, kw_only=True, tag="item_reference"):
    item_reference: Annotated[str, Meta(min_length=1, max_length=1000)]


InputMessages = TemplateMessages | ItemReference


class CompletionSampling(Struct, kw_only=True, omit_defaults=True):
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: int | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    reasoning_effort: str | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None


class ResponseSampling(Struct, kw_only=True, omit_defaults=True):
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    seed: int | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    reasoning_effort: str | None = None
    text: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None


class Jsonl(_Typed, kw_only=True, tag="jsonl"):
    """The answers are given with the items."""

    source: Source


class Completions(_Typed, kw_only=True, tag="completions"):
    """A model answers, by /v1/chat/completions."""

    source: Source
    model: Annotated[str, Meta(min_length=1, max_length=512)]
    input_messages: InputMessages
    sampling_params: CompletionSampling | None = None


class Responses(_Typed, kw_only=True, tag="responses"):
    """A model answers, by /v1/responses. Without one, stored responses are graded as they are."""

    source: Source | StoredResponses
    model: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    input_messages: InputMessages | None = None
    sampling_params: ResponseSampling | None = None


DataSource = Jsonl | Completions | Responses


def model_of(source: DataSource) -> str:
    """ "" where the answers are given."""
    return "" if isinstance(source, Jsonl) else source.model or ""
