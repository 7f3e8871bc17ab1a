"""Wire structs of Ollama's API: chat, generate, embed. In requests null equals absent."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from llmos_server.api.schemas.chat import MAX_MESSAGES, MAX_TOOL_CALLS
from llmos_server.api.schemas.common import Int64, Stop, Stops
from llmos_server.api.schemas.tools import FunctionDefinition

ModelName = Annotated[str, Meta(min_length=1, max_length=1024)]
KeepAlive = int | float | str
"""Seconds, or a duration such as "5m"."""


class OllamaOptions(Struct, kw_only=True, forbid_unknown_fields=True):
    num_predict: Annotated[int, Meta(ge=-2, le=2**31 - 1)] | None = None
    num_ctx: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    seed: Int64 | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: Stop | Stops | None = None
    repeat_penalty: Annotated[float, Meta(gt=0, le=100)] | None = None
    repeat_last_n: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2, le=2)] | None = None


class OllamaCalledFunction(Struct, kw_only=True, forbid_unknown_fields=True):
    name: str
    arguments: dict[str, Any] | None = None


class OllamaCall(Struct, kw_only=True, forbid_unknown_fields=True):
    """A tool call in a message."""

    function: OllamaCalledFunction
    id: str | None = None


class OllamaMessage(Struct, kw_only=True, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    tool_calls: Annotated[list[OllamaCall], Meta(max_length=MAX_TOOL_CALLS)] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class OllamaTool(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str = "function"
    function: FunctionDefinition


class OllamaGenerationFields(Struct, kw_only=True, forbid_unknown_fields=True):
    """What chat and generate share."""

    model: ModelName
    stream: bool | None = None
    """True when absent."""
    format: str | dict[str, Any] | None = None
    think: bool | str | None = None
    keep_alive: KeepAlive | None = None
    options: OllamaOptions | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    truncate: bool | None = None


class OllamaChatRequest(OllamaGenerationFields, kw_only=True, forbid_unknown_fields=True):
    messages: Annotated[list[OllamaMessage], Meta(max_length=MAX_MESSAGES)] | None = None
    tools: list[OllamaTool] | None = None


class OllamaGenerateRequest(OllamaGenerationFields, kw_only=True, forbid_unknown_fields=True):
    prompt: str | None = None
    system: str | None = None
    raw: bool | None = None


class OllamaTokenLogprob(Struct, kw_only=True):
    token: str
    logprob: float
    bytes: list[int]


class OllamaLogprob(OllamaTokenLogprob, kw_only=True):
    top_logprobs: list[OllamaTokenLogprob] | UnsetType = UNSET


class OllamaMadeFunction(Struct, kw_only=True):
    index: int
    """Among the answer's calls."""
    name: str
    arguments: dict[str, Any]


class OllamaMadeCall(Struct, kw_only=True):
    id: str
    function: OllamaMadeFunction


class OllamaAnswerMessage(Struct, kw_only=True):
    role: Literal["assistant"] = "assistant"
    content: str = ""
    thinking: str | UnsetType = UNSET
    tool_calls: list[OllamaMadeCall] | UnsetType = UNSET


class OllamaAnswer(Struct, kw_only=True):
    """What both kinds of answers have: the whole, or a line of a stream. Figures are in the whole, and in the last
    line; durations are nanoseconds."""

    model: str
    """As the request names it."""
    created_at: str
    done: bool
    done_reason: str | UnsetType = UNSET
    """With done: stop, length, load, unload, or content_filter (a plugin has ended it)."""
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET
    logprobs: list[OllamaLogprob] | UnsetType = UNSET
    format_error: str | UnsetType = UNSET
    """Extension, with done: where an answer that has ended isn't what its schema asks for."""


class OllamaChatAnswer(OllamaAnswer, kw_only=True):
    message: OllamaAnswerMessage


class OllamaGenerateAnswer(OllamaAnswer, kw_only=True):
    response: str
    thinking: str | UnsetType = UNSET


class OllamaEmbedRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    model: ModelName
    input: str | list[str]
    truncate: bool | None = None
    """True when absent."""
    dimensions: Annotated[int, Meta(ge=1)] | None = None
    keep_alive: KeepAlive | None = None


class OllamaEmbedAnswer(Struct, kw_only=True):
    model: str
    embeddings: list[list[float]]
    total_duration: int
    load_duration: int
    prompt_eval_count: int


class OllamaEmbeddingsRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """The older form, of one text."""

    model: ModelName
    prompt: str | None = None
    keep_alive: KeepAlive | None = None


class OllamaEmbeddingsAnswer(Struct, kw_only=True):
    embedding: list[float]


class OllamaError(Struct, kw_only=True):
    error: str
