"""Wire structs of what administrators see inside a model: its template, a prompt's tokens, a prompt's attention."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from llmos_server.api.schemas.tokenize import PromptFields

AtLeastZero = Annotated[int, Meta(ge=0)]


class TemplateAnswer(Struct, kw_only=True):
    model: str
    template: str | None
    """null: it has none."""
    source: str | None
    """The file in the model's folder that holds it."""


class PreviewRequest(PromptFields, kw_only=True, forbid_unknown_fields=True):
    pass


class PreviewToken(Struct, kw_only=True):
    id: int
    text: str
    """Bytes that are only part of a character are U+FFFD."""
    is_special: bool


class Preview(Struct, kw_only=True):
    model: str
    text: str
    """What the tokens stand for, special ones included."""
    tokens: list[PreviewToken]


class AttentionRequest(PromptFields, kw_only=True, forbid_unknown_fields=True):
    layer: AtLeastZero | None = None
    head: AtLeastZero | None = None


class AttentionAnswer(Struct, kw_only=True):
    model: str
    tokens: list[str]
    token_ids: list[int]
    layer: int
    head: int | None
    """null: the mean over all heads."""
    num_layers: int | None
    """null where config.json doesn't say it under a name that is known."""
    num_heads: int
    weights: list[list[float]]
    """Rows are queries, columns keys: how much each token takes from which. Rounded to seven places."""
