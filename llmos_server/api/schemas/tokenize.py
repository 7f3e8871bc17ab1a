"""Wire structs of /tokenize, /detokenize and the render endpoint, in vLLM's shapes."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from llmos_server.api.schemas.chat import MAX_MESSAGES, ChatMessage
from llmos_server.api.schemas.tools import ToolDefinition


class PromptFields(Struct, kw_only=True, forbid_unknown_fields=True):
    """What becomes one prompt's tokens: either `prompt` or `messages`."""

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)] | None = None
    add_special_tokens: bool | None = None
    """Of a prompt only; true when absent."""
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    tools: list[ToolDefinition] | None = None


class TokenizeRequest(PromptFields, kw_only=True, forbid_unknown_fields=True):
    return_token_strs: bool | None = None


class TokenizeResponse(Struct, kw_only=True):
    count: int
    max_model_len: int | None
    tokens: list[int]
    token_strs: list[str] | None


class DetokenizeRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    model: str | None = None
    tokens: list[int]


class DetokenizeResponse(Struct, kw_only=True):
    prompt: str


class RenderResponse(Struct, kw_only=True):
    """What would be generated from: vLLM's token-in request, with the rendered text and its length added."""

    request_id: str
    token_ids: list[int]
    sampling_params: dict[str, Any]
    model: str
    stream: bool
    cache_salt: str | None
    priority: int
    prompt: str
    """Extension: the rendered text that token_ids encode."""
    count: int
    """Extension: len(token_ids)."""
    max_model_len: int
    """Extension."""
    dropped_messages: int
    """Extension: messages left out by on_overflow="drop_oldest"."""
