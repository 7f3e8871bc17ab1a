"""Guards on requests and answers: what a plugin subclasses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import msgspec

Part = Literal["content", "reasoning", "arguments"]
"""Of an answer: its text, what a model thinks before, the arguments of one tool call as JSON."""

Endpoint = Literal["chat.completions", "completions", "skill", "embeddings", "rerank", "score", "classify", "systemone"]

OnFailure = Literal["closed", "open"]
"""What happens to a request whose filter raised, took too long or is switched off: it ends with an error (closed), or
goes on as if there were no filter (open)."""


class Refusal(Exception):
    """Raised by a request filter: the client gets a 400 with this reason, and the plugin's name."""


class FilteredRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request that a model reads, as filters see it. Change one with msgspec.structs.replace."""

    endpoint: Endpoint
    """skill: what a skill asks of a model; its messages are the skill's own."""
    model: str
    """As the client wrote it; "" for the default model. Another one is looked up, and allowed, for the same key."""
    key_id: str
    """"" is nobody's. A change of it has no effect."""
    messages: list[dict[str, Any]] = []
    """Of a chat: role, content (a string, or text parts) and what else OpenAI's messages have."""
    prompts: list[str] = []
    """Of a completion, or all texts of a request that generates none: `input`; the query, then the documents; the
    first texts, then the second ones; the state, then each question's instructions and criteria. As many have to come
    back, and names of options as they were. Token ids can't be filtered and are refused."""
    params: dict[str, Any] = {}
    """Every other field of the request, as on the wire."""


class RequestFilter(ABC):
    """One instance serves all requests, in several threads at a time."""

    name: ClassVar[str]
    on_failure: ClassVar[OnFailure] = "closed"
    deadline_ms: ClassVar[int] = 2000

    @abstractmethod
    def check(self, request: FilteredRequest) -> FilteredRequest | None:
        """None leaves it as it is. Raises Refusal with a reason that is fit for the client."""


class EndAnswer(Exception):
    """Raised by an answer's filter: the choice ends here with finish_reason "content_filter".

    last: what is shown of what wasn't released yet, behind all that was."""

    def __init__(self, last: str = "") -> None:
        super().__init__()
        self.last = last


class ChoiceFilter(ABC):
    """Of one part of one choice of an answer; its calls come one after the other.

    What it returns, put together, must not depend on how the text was cut into pieces: so an answer is the same
    streamed and whole. Hold text back until that is so: return "" and give it out later.
    """

    @abstractmethod
    def feed(self, text: str) -> str:
        """The next piece; what of it, and of what was held back, is shown now. Raises EndAnswer."""

    def finish(self) -> str:
        """The answer has ended; what was held back. Raises EndAnswer."""
        return ""


class ResponseFilter(ABC):
    """One instance serves all requests. Log-probabilities show the model's own tokens, so a request for them is refused
    with a 400 where such a filter applies."""

    name: ClassVar[str]
    on_failure: ClassVar[OnFailure] = "closed"
    deadline_ms: ClassVar[int] = 500

    @abstractmethod
    def open(self, request: FilteredRequest, part: Part) -> ChoiceFilter | None:
        """Called for each part of each choice before its first text; None lets the part pass. request: as filters of
        requests left it."""
