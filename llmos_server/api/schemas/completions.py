"""Wire structs of /v1/completions."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from llmos_server.api.schemas.common import GenerationFields, Usage


class CompletionRequest(GenerationFields, kw_only=True, forbid_unknown_fields=True):
    prompt: str | list[str | int | list[int]]
    """One string, several strings, one prompt as token ids, or several of those."""
    best_of: Annotated[int, Meta(ge=1)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    add_special_tokens: bool | None = None


class LegacyLogprobs(Struct, kw_only=True):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]
    """Where each token begins in this choice's `text`, in characters."""


class CompletionChoice(Struct, kw_only=True):
    index: int
    text: str
    logprobs: LegacyLogprobs | None
    finish_reason: Literal["stop", "length", "content_filter"] | None
    stop_reason: str | int | None = None
    """Extension, as in vLLM."""
    format_error: str | UnsetType = UNSET
    """Extension: where an answer that has ended isn't what its schema asks for (never with strict: true)."""
    prompt_token_ids: list[int] | UnsetType = UNSET
    """Extension, as in vLLM, with return_token_ids. In a stream with the choice's first chunk."""
    token_ids: list[int] | UnsetType = UNSET
    """The same: what was generated, a stop token included."""


class Completion(Struct, kw_only=True):
    """An unstreamed answer, and one chunk of a streamed one: OpenAI uses the same shape for both."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage | UnsetType | None = UNSET
