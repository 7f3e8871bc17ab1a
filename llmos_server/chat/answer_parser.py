"""One choice's text to reasoning, content and tool calls."""

from __future__ import annotations

import msgspec

from llmos_server.chat.deltas import TextDelta
from llmos_server.chat.reasoning import ReasoningSplitter
from llmos_server.chat.tools.parser import ToolParser
from llmos_server.chat.tools.sink import Parsed


class AnswerParser:
    """Feed it every TextDelta of a choice, in order. What it returns, put together, doesn't depend on how they were
    cut. Both parts are optional."""

    def __init__(
        self,
        reasoning: ReasoningSplitter | None = None,
        tools: ToolParser | None = None,
    ) -> None:
        self._reasoning = reasoning
        self._tools = tools
        self._pending: list[tuple[int, int]] = []
        """Begin and end of tokens of which it isn't known yet whether they are reasoning."""
        self._num_chars = 0

    def feed(self, delta: TextDelta) -> TextDelta:
        is_last = delta.finish_reason is not None
        reasoning, text = self._split(delta.text, is_last)
        parsed = self._parse(text, is_last)
        changes = {
            "text": parsed.content,
            "reasoning": reasoning,
            "calls": parsed.calls,
            "num_reasoning_tokens": self._count_reasoning(delta),
        }
        if delta.finish_reason == "stop" and self._tools is not None and self._tools.num_calls:
            is_whole = self._tools.is_whole
            error = None if is_whole else f"tool_calls.{self._tools.num_calls - 1}: the answer ended within it"
            changes |= {"has_calls": is_whole, "format_error": error}
        return msgspec.structs.replace(delta, **changes)

    def _split(self, text: str, is_last: bool) -> tuple[str, str]:
        if self._reasoning is None:
            return "", text
        reasoning, rest = self._reasoning.feed(text)
        if is_last:
            more = self._reasoning.finish()
            reasoning, rest = reasoning + more[0], rest + more[1]
        return reasoning, rest

    def _parse(self, text: str, is_last: bool) -> Parsed:
        if self._tools is None:
            return Parsed(text, [])
        parsed = self._tools.feed(text)
        if not is_last:
            return parsed
        more = self._tools.finish()
        return Parsed(parsed.content + more.content, parsed.calls + more.calls)

    def _count_reasoning(self, delta: TextDelta) -> int:
        """Tokens that are known to be reasoning since the last time, markers included."""
        if self._reasoning is None:
            return 0
        starts = [0, *delta.ends]
        self._pending += [
            (self._num_chars + start, self._num_chars + end) for start, end in zip(starts, delta.ends, strict=False)
        ]
        self._num_chars += len(delta.text)
        begin, end = self._reasoning.begin, self._reasoning.end
        if begin is None and end is None:
            return 0
        counted = sum(
            1 for first, last in self._pending if begin is not None and last > begin and (end is None or first < end)
        )
        self._pending.clear()
        return counted
