"""Wire structs of /v1/llmos/feedback."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from llmos_server.api.schemas.chat import MAX_MESSAGES, ChatMessage

Rating = Literal[-1, 0, 1]
ShortText = Annotated[str, Meta(min_length=1, max_length=128)]
Tags = Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=32)]
MAX_SAMPLING = 32


class FeedbackFields(Struct, kw_only=True):
    model: Annotated[str, Meta(min_length=1, max_length=512)]
    answer: str
    rating: Rating | None = None
    correction: str | None = None
    comment: Annotated[str, Meta(max_length=10_000)] | None = None
    tags: Tags = []
    response_id: ShortText | None = None
    conversation_id: ShortText | None = None
    item_id: ShortText | None = None
    request_id: ShortText | None = None
    system_fingerprint: ShortText | None = None
    sampling: Annotated[dict[str, Any], Meta(max_length=MAX_SAMPLING)] | None = None


class CreateFeedbackRequest(FeedbackFields, kw_only=True, forbid_unknown_fields=True):
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]


class Feedback(FeedbackFields, kw_only=True):
    id: str
    object: Literal["feedback"] = "feedback"
    created_at: int
    """Unix seconds."""
    messages: list[dict[str, Any]]
    """As they were sent."""
    key: str
    """The id of the key that gave it; "" is nobody's."""
    model_digest: str | None = None
    """Of the weights that the server had under this name when the feedback was given; None where it had none."""


class FeedbackList(Struct, kw_only=True):
    """A page. The ids are null when it is empty."""

    object: Literal["list"] = "list"
    data: list[Feedback]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFeedback(Struct, kw_only=True):
    id: str
    object: Literal["feedback.deleted"] = "feedback.deleted"
    deleted: bool = True
