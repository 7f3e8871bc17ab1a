"""Wire structs of /v1/chat/completions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from llmos_server.api.schemas.common import GenerationFields, Usage
from llmos_server.api.schemas.tools import ToolDefinition

MAX_MESSAGES = 4096
MAX_PARTS = 4096
"""Of one message's content."""
MAX_TOOL_CALLS = 128
"""Of one message."""

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
WireFinishReason = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class ContentPart(Struct, kw_only=True, forbid_unknown_fields=True):
    type: Literal["text", "input_text", "output_text", "refusal"]
    text: str | None = None
    refusal: str | None = None


class ChatMessage(Struct, kw_only=True, forbid_unknown_fields=True):
    role: Role
    content: str | Annotated[list[ContentPart], Meta(max_length=MAX_PARTS)] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: Annotated[list[dict[str, Any]], Meta(max_length=MAX_TOOL_CALLS)] | None = None
    tool_call_id: str | None = None
    function_call: dict[str, Any] | None = None


class ChatCompletionRequest(GenerationFields, kw_only=True, forbid_unknown_fields=True):
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    on_overflow: Literal["error", "drop_oldest"] | None = None
    metadata: Any = None
    tools: list[ToolDefinition] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None


class TopLogprob(Struct, kw_only=True):
    token: str
    logprob: float
    bytes: list[int]


class TokenLogprobEntry(Struct, kw_only=True):
    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChoiceLogprobs(Struct, kw_only=True):
    content: list[TokenLogprobEntry] | None
    refusal: None = None


class CalledFunction(Struct, kw_only=True):
    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    """JSON. In a stream the name comes first, then pieces of the arguments."""


class ToolCall(Struct, kw_only=True):
    index: int | UnsetType = UNSET
    """In a stream only: pieces of one index are of one call."""
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: CalledFunction


class AssistantMessage(Struct, kw_only=True):
    role: Literal["assistant"] = "assistant"
    content: str | None
    """null where there are tool calls and no text."""
    refusal: str | None = None
    reasoning_content: str | UnsetType = UNSET
    """Extension, as in llama.cpp and SGLang: what a reasoning model wrote before its answer."""
    reasoning: str | UnsetType = UNSET
    """The same, as in vLLM."""
    tool_calls: list[ToolCall] | UnsetType = UNSET


class ChatChoice(Struct, kw_only=True):
    index: int
    message: AssistantMessage
    logprobs: ChoiceLogprobs | None
    finish_reason: WireFinishReason
    stop_reason: str | int | None = None
    """Extension, as in vLLM: the stop string or stop token that ended the choice; null for the model's own end."""
    format_error: str | UnsetType = UNSET
    """Extension: where an answer that has ended isn't what its schema asks for (never with strict: true)."""
    token_ids: list[int] | UnsetType = UNSET
    """Extension, as in vLLM, with return_token_ids: what was generated, a stop token included."""


class ChatCompletion(Struct, kw_only=True):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage
    prompt_token_ids: list[int] | UnsetType = UNSET
    """Extension, as in vLLM, with return_token_ids."""


class ChunkDelta(Struct, kw_only=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET


class ChunkChoice(Struct, kw_only=True):
    index: int
    delta: ChunkDelta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: WireFinishReason | None = None
    stop_reason: str | int | UnsetType | None = UNSET
    format_error: str | UnsetType = UNSET
    token_ids: list[int] | UnsetType = UNSET


class ChatCompletionChunk(Struct, kw_only=True):
    """Frames are written by hand (api/chats/frames.py); this struct documents them."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET
    """With the first chunks, which tell the role."""
