"""Chats: the models that can be asked, and the chunks of a streamed answer."""

from __future__ import annotations

from llmos_tui.wire.common import Wire


class ServedModel(Wire, frozen=True, kw_only=True):
    """A row of /v1/models. capabilities: "chat", "skill", "logprobs", "embeddings" ...; null where they aren't told."""

    id: str
    capabilities: list[str] | None = None
    max_model_len: int | None = None
    state: str = ""
    owned_by: str = ""

    def can(self, capability: str) -> bool:
        return capability in (self.capabilities or [])

    @property
    def is_skill(self) -> bool:
        return self.can("skill")

    @property
    def has_logprobs(self) -> bool:
        return self.can("logprobs")


class Alternative(Wire, frozen=True, kw_only=True):
    """A token that could have stood in a place. logprob: natural logarithm of its probability."""

    token: str
    logprob: float


class Token(Wire, frozen=True, kw_only=True):
    """A token of an answer, and the likeliest ones of its place, itself among them if it is one."""

    token: str
    logprob: float
    top_logprobs: list[Alternative] = []


class Logprobs(Wire, frozen=True, kw_only=True):
    """Of the tokens of one chunk."""

    content: list[Token] | None = None


class FunctionPiece(Wire, frozen=True, kw_only=True):
    """The name comes first, then pieces of the arguments, which are JSON."""

    name: str | None = None
    arguments: str | None = None


class CallPiece(Wire, frozen=True, kw_only=True):
    """Pieces of one index are of one call."""

    index: int = 0
    id: str | None = None
    function: FunctionPiece = FunctionPiece()


class Delta(Wire, frozen=True, kw_only=True):
    """What is new."""

    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[CallPiece] | None = None


class ChunkChoice(Wire, frozen=True, kw_only=True):
    """format_error: where an answer isn't what its schema asks for."""

    delta: Delta = Delta()
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: str | int | None = None
    format_error: str | None = None


class PromptDetails(Wire, frozen=True, kw_only=True):
    """Of the prompt's tokens."""

    cached_tokens: int = 0


class CompletionDetails(Wire, frozen=True, kw_only=True):
    """Of the answer's tokens."""

    reasoning_tokens: int = 0


class Usage(Wire, frozen=True, kw_only=True):
    """In tokens. dropped_messages: what on_overflow left out."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails = PromptDetails()
    completion_tokens_details: CompletionDetails = CompletionDetails()
    dropped_messages: int = 0


class Chunk(Wire, frozen=True, kw_only=True):
    """choices is empty in the last one, which has the usage; with continuous_usage_stats all have it."""

    id: str = ""
    model: str = ""
    system_fingerprint: str = ""
    choices: list[ChunkChoice] = []
    usage: Usage | None = None


class ErrorDetail(Wire, frozen=True, kw_only=True):
    """The server's words."""

    message: str
    code: str | None = None


class ChunkOrError(Chunk, frozen=True, kw_only=True):
    """A failure after the stream has begun comes in a chunk's place."""

    error: ErrorDetail | None = None
