"""Wire structs of Anthropic's API: /v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from llmos_server.api.schemas.chat import MAX_MESSAGES
from llmos_server.api.schemas.common import Stops

MAX_BLOCKS = 4096
"""Of one message, or of one tool's result."""

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal", "model_context_window_exceeded"]

Effort = Literal["low", "medium", "high", "xhigh", "max"]


class ResultBlock(Struct, kw_only=True, forbid_unknown_fields=True):
    """Of a tool's result."""

    type: str
    text: str | None = None
    tool_name: str | None = None


class Block(Struct, kw_only=True, forbid_unknown_fields=True):
    """Of a message. Which fields it needs follows from its type."""

    type: str
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    content: str | Annotated[list[ResultBlock], Meta(max_length=MAX_BLOCKS)] | None = None
    is_error: bool | None = None


Blocks = Annotated[list[Block], Meta(max_length=MAX_BLOCKS)]


class InputMessage(Struct, kw_only=True, forbid_unknown_fields=True):
    role: Literal["user", "assistant", "system"]
    content: str | Blocks


class ToolParam(Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    display: Literal["summarized", "omitted"] | None = None


class OutputFormat(Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(Struct, kw_only=True, forbid_unknown_fields=True):
    effort: Effort | None = None
    format: OutputFormat | None = None


class PromptFields(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a prompt is made of."""

    messages: Annotated[list[InputMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    model: str | None = None
    system: str | Blocks | None = None
    tools: list[ToolParam] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None


class CountTokensRequest(PromptFields, kw_only=True, forbid_unknown_fields=True):
    pass


class MessagesRequest(PromptFields, kw_only=True, forbid_unknown_fields=True):
    max_tokens: Annotated[int, Meta(ge=1)]
    stop_sequences: Stops | None = None
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    on_overflow: Literal["error", "drop_oldest"] | None = None


class TextBlock(Struct, kw_only=True, tag_field="type", tag="text"):
    text: str
    """Without citations: clients take a list of them, or none at all, but no null."""


class ThinkingBlock(Struct, kw_only=True, tag_field="type", tag="thinking"):
    thinking: str
    signature: str


class ToolUseBlock(Struct, kw_only=True, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]


ContentBlock = TextBlock | ThinkingBlock | ToolUseBlock


class OutputTokensDetails(Struct, kw_only=True):
    thinking_tokens: int


class MessageUsage(Struct, kw_only=True):
    input_tokens: int
    """Without those that were found in the prefix cache."""
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputTokensDetails


class AnthropicMessage(Struct, kw_only=True):
    id: str
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    model: str
    content: list[ContentBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: MessageUsage
    format_error: str | UnsetType = UNSET
    """Extension: where an answer that has ended isn't what its schema asks for, or in which call it was cut."""


class MessageEvent(Struct, kw_only=True):
    """Events are written by hand (api/anthropic/frames.py); this struct documents them."""

    type: Literal[
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    message: AnthropicMessage | UnsetType = UNSET
    index: int | UnsetType = UNSET
    content_block: ContentBlock | UnsetType = UNSET
    delta: dict[str, Any] | UnsetType = UNSET
    usage: MessageUsage | UnsetType = UNSET


class TokenCount(Struct, kw_only=True):
    input_tokens: int


class AnthropicErrorDetails(Struct, kw_only=True):
    error_code: str | None
    param: str | None
    """Extension: the field."""


class AnthropicErrorObject(Struct, kw_only=True):
    type: str
    message: str
    details: AnthropicErrorDetails


class AnthropicError(Struct, kw_only=True):
    type: Literal["error"] = "error"
    error: AnthropicErrorObject
    request_id: str
