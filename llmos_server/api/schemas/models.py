"""Wire structs of /v1/models, /health, /ready and /version."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, Struct, UnsetType


class Model(Struct, kw_only=True):
    """OpenAI's fields and Anthropic's."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "llmos"
    type: Literal["model"] = "model"
    display_name: str
    created_at: str
    """RFC 3339."""
    lifecycle: Literal["active"] = "active"
    max_model_len: int | None
    """Extension: most tokens of prompt and answer together, or of one text to embed; null until known."""
    capabilities: list[str] | None
    """Extension: "chat" (by a template), "completions", "logprobs", "streaming", "tokenize"; "skill"; "embeddings".
    Null for Anthropic's clients, to whom it means something else."""
    root: str
    """vLLM's: the model that it is, or, of an adapter, the digest of its content."""
    parent: str | None
    """vLLM's: an adapter's base; null for a model."""
    aliases: list[str]
    """Extension: other names that reach this model."""
    digest: str | None = None
    """Extension: of its weights, an adapter's included; null while the server doesn't know it."""
    state: str
    """Extension: unloaded, loading, ready, restarting, failed or stopped."""
    max_input_tokens: int | UnsetType | None = UNSET
    """For Anthropic's clients: max_model_len in their words."""


class ModelList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[Model]
    has_more: bool = False
    first_id: str | None
    last_id: str | None


class ModelDeleted(Struct, kw_only=True):
    id: str
    object: Literal["model"] = "model"
    deleted: bool = True


class Health(Struct, kw_only=True):
    status: Literal["ok", "ready"]


class Version(Struct, kw_only=True):
    version: str
    home_id: str | None = None
    """Of the server's LLMOS_HOME: programs on its machine see whether theirs is the same."""
