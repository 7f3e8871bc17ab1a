"""What `chat` hands to `api` for each piece of an answer."""

from __future__ import annotations

import builtins
from typing import Literal

import msgspec

from llmos_server.contracts import FinishReason


class TokenText(msgspec.Struct, frozen=True):
    """One token with its log-probability, as text."""

    token_id: int
    text: str
    """With U+FFFD for what is only part of a character."""
    bytes: builtins.bytes
    logprob: float
    top: list[tuple[int, str, builtins.bytes, float]]
    """The best alternatives, best first: id, text, bytes, log-probability."""


class CallDelta(msgspec.Struct, frozen=True):
    """A tool call that begins, or more of its arguments."""

    index: int
    """Among the calls of its choice."""
    id: str = ""
    name: str = ""
    """Both with the first delta of a call, without arguments."""
    arguments: str = ""


class TextDelta(msgspec.Struct, frozen=True):
    """Text of one choice that can be shown: it can't become a stop string any more and ends between characters."""

    index: int
    text: str
    tokens: list[TokenText] | None
    """One entry per entry of token_ids; None unless log-probabilities were asked for."""
    token_ids: list[int]
    """Exactly the tokens that this text comes from."""
    finish_reason: FinishReason | Literal["content_filter"] | None
    """content_filter: a plugin has ended it."""
    num_tokens: int
    """Length of token_ids; the sum over a choice is its completion_tokens."""
    stop: str | int | None
    """With finish_reason "stop": the stop string that matched, or the stop token."""
    stop_token: TokenText | None = None
    """The stop token's log-probability, when asked for; it is not among `tokens`."""
    format_error: str | None = None
    """With finish_reason "stop": where the whole text isn't what its schema asks for, and no grammar could hold."""
    ends: list[int] = []
    """Of each of token_ids: where in `text` its own ends."""
    reasoning: str = ""
    """What chat.answer_parser found to be reasoning, not text."""
    calls: list[CallDelta] = []
    """What it found to be tool calls."""
    num_reasoning_tokens: int = 0
    has_calls: bool = False
    """With finish_reason "stop": the choice has ended in tool calls, all of them whole."""

    @property
    def generated_ids(self) -> list[int]:
        """token_ids, and the stop token that ended the choice."""
        return [*self.token_ids, self.stop] if isinstance(self.stop, int) else self.token_ids
