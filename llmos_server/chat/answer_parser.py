"""One choice's text to reasoning, content and tool calls."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from llmos_server.chat.answer_check import explain_within_bounds
from llmos_server.chat.deltas import CallDelta, TextDelta
from llmos_server.chat.reasoning import ReasoningSplitter
from llmos_server.chat.schema_paths import Schema
from llmos_server.chat.tools.parser import ToolParser
from llmos_server.chat.tools.sink import Parsed


class AnswerParser:
    """Feed it every TextDelta of a choice, in order. What it returns, put together, doesn't depend on how they were
    cut. Both parts are optional. checks: what finished calls' arguments have to match besides the grammar, by name."""

    def __init__(
        self,
        reasoning: ReasoningSplitter | None = None,
        tools: ToolParser | None = None,
        checks: Mapping[str, Schema] | None = None,
    ) -> None:
        self._reasoning = reasoning
        self._tools = tools
        self._checks = dict(checks or {})
        self._names: list[str] = []
        self._arguments: list[list[str]] = []
        self._pending: list[tuple[int, int]] = []
        """Begin and end of tokens of which it isn't known yet whether they are reasoning."""
        self._num_chars = 0

    def feed(self, delta: TextDelta) -> TextDelta:
        is_last = delta.finish_reason is not None
        reasoning, text = self._split(delta.text, is_last)
        parsed = self._parse(text, is_last)
        self._collect(parsed.calls)
        changes = {
            "text": parsed.content,
            "reasoning": reasoning,
            "calls": parsed.calls,
            "num_reasoning_tokens": self._count_reasoning(delta),
        }
        if delta.finish_reason == "stop" and self._tools is not None and self._tools.num_calls:
            changes |= {"has_calls": self._tools.is_whole, "format_error": self._explain(self._tools)}
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

    def _collect(self, calls: list[CallDelta]) -> None:
        if not self._checks:
            return
        for call in calls:
            if call.name:
                self._names.append(call.name)
                self._arguments.append([])
            self._arguments[-1].append(call.arguments)

    def _explain(self, tools: ToolParser) -> str | None:
        """What is wrong with the calls of an answer that has ended, if anything is."""
        if not tools.is_whole:
            return f"tool_calls.{tools.num_calls - 1}: the answer ended within it"
        for place, (name, arguments) in enumerate(zip(self._names, self._arguments, strict=True)):
            mismatch = explain_within_bounds(self._checks[name], "".join(arguments)) if name in self._checks else None
            if mismatch is not None:
                return f"tool_calls.{place}.function.arguments: {mismatch}"
        return None

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
