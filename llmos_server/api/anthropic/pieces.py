"""An answer's texts in Anthropic's words: blocks of thinking, text and tool use, and why it has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from llmos_server.api.generation.answers import Answer
from llmos_server.api.schemas.anthropic import MessageUsage, OutputTokensDetails, StopReason
from llmos_server.chat.deltas import CallDelta, TextDelta

SIGNATURE = "unsigned"
"""Clients want one with every thinking block, and send it back; nothing is read from it."""


class Piece(NamedTuple):
    kind: Literal["thinking", "text", "tool_use"]
    text: str
    call: CallDelta | None = None
    """The begin of a call, which begins a block always; the others begin one where the last was of another kind."""


def pieces_of(text: TextDelta) -> Iterator[Piece]:
    if text.reasoning:
        yield Piece("thinking", text.reasoning)
    if text.text:
        yield Piece("text", text.text)
    for call in text.calls:
        yield Piece("tool_use", call.arguments, call if call.name else None)


def ending(answer: Answer, last: TextDelta) -> tuple[StopReason, str | None]:
    """last: the text that ended it. The second is the stop sequence."""
    if last.has_calls:
        return "tool_use", None
    if last.finish_reason == "content_filter":
        return "refusal", None
    if last.finish_reason == "length":
        is_full = answer.num_completion_tokens < answer.plan.sampling.max_tokens
        return ("model_context_window_exceeded" if is_full else "max_tokens"), None
    if isinstance(last.stop, str):
        return "stop_sequence", last.stop
    return "end_turn", None


def usage_of(answer: Answer) -> MessageUsage:
    cached = answer.num_cached_tokens
    return MessageUsage(
        input_tokens=answer.plan.num_prompt_tokens - cached,
        cache_read_input_tokens=cached,
        output_tokens=answer.num_completion_tokens,
        output_tokens_details=OutputTokensDetails(thinking_tokens=answer.num_reasoning_tokens),
    )


def id_of(answer: Answer) -> str:
    return "msg_" + answer.plan.id.rpartition("-")[2]
