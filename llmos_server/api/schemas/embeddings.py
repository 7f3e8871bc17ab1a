"""Wire structs of /v1/embeddings."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

MAX_INPUTS = 2048
"""OpenAI's."""


class EmbeddingRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    input: str | list[str | int | list[int]]
    """One text, several texts, one text as token ids, or several of those."""
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    truncate_prompt_tokens: Annotated[int, Meta(ge=-1)] | None = None
    truncation_side: Literal["left", "right"] | None = None


class Embedding(Struct, kw_only=True):
    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    """With base64: little-endian float32."""


class EmbeddingUsage(Struct, kw_only=True):
    prompt_tokens: int
    total_tokens: int
    truncated_inputs: int | UnsetType = UNSET
    """Extension: how many inputs truncate_prompt_tokens has cut; absent where it wasn't asked for."""


class EmbeddingList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
