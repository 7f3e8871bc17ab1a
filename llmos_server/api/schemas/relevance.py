"""Wire structs of rerank, score and classify, in vLLM's shapes, which Jina's and Cohere's clients read, too."""

from __future__ import annotations

import time
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

MAX_DOCUMENTS = 2048

Truncation = Annotated[int, Meta(ge=-1)]


class TextDocument(Struct, kw_only=True, forbid_unknown_fields=True):
    text: str


Texts = Annotated[list[str | TextDocument], Meta(min_length=1, max_length=MAX_DOCUMENTS)]


class RerankRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    query: str | TextDocument
    documents: Texts
    model: str | None = None
    top_n: Annotated[int, Meta(ge=0)] | None = None
    return_documents: bool | None = None
    use_activation: bool | None = None
    truncate_prompt_tokens: Truncation | None = None
    max_tokens_per_doc: Annotated[int, Meta(ge=1)] | None = None


class RerankResult(Struct, kw_only=True):
    index: int
    """Among the request's documents."""
    relevance_score: float
    document: TextDocument | UnsetType = UNSET


class RelevanceUsage(Struct, kw_only=True):
    prompt_tokens: int
    total_tokens: int
    truncated_inputs: int | UnsetType = UNSET
    """Extension: how many texts were cut; absent where that wasn't asked for."""


class RerankResponse(Struct, kw_only=True):
    id: str
    model: str
    results: list[RerankResult]
    """Most relevant first."""
    usage: RelevanceUsage


class ScoreRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """One of the four pairs of fields, each one text or several."""

    text_1: str | TextDocument | Texts | None = None
    text_2: str | TextDocument | Texts | None = None
    queries: str | TextDocument | Texts | None = None
    documents: str | TextDocument | Texts | None = None
    items: str | TextDocument | Texts | None = None
    data_1: str | TextDocument | Texts | None = None
    data_2: str | TextDocument | Texts | None = None
    model: str | None = None
    use_activation: bool | None = None
    truncate_prompt_tokens: Truncation | None = None


class ScoreData(Struct, kw_only=True):
    index: int
    object: Literal["score"] = "score"
    score: float


class ScoreList(Struct, kw_only=True):
    id: str
    object: Literal["list"] = "list"
    created: int = field(default_factory=lambda: int(time.time()))
    model: str
    data: list[ScoreData]
    usage: RelevanceUsage


class ClassifyRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    input: str | list[str | int | list[int]]
    """As for embeddings."""
    model: str | None = None
    use_activation: bool | None = None
    truncate_prompt_tokens: Truncation | None = None
    truncation_side: Literal["left", "right"] | None = None


class Classification(Struct, kw_only=True):
    index: int
    label: str
    """Of the greatest of them."""
    probs: list[float]
    """In the order of the model's labels; outputs as they are with use_activation: false."""
    num_classes: int


class ClassificationList(Struct, kw_only=True):
    id: str
    object: Literal["list"] = "list"
    created: int = field(default_factory=lambda: int(time.time()))
    model: str
    data: list[Classification]
    labels: list[str]
    """Extension: what the numbers of probs stand for."""
    usage: RelevanceUsage
