"""A loop's turns as one answer of a chat: what all of them say, and those calls that are the client's to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from llmos_server.agents.loop import CallEnded, LoopEvent, OutOfTokens, Wrote
from llmos_server.agents.tool import ServerTool
from llmos_server.chat.deltas import CallDelta, TextDelta

BETWEEN_TURNS = "\n\n"


class _Joined:
    """Texts of turns, with something between those that aren't empty."""

    def __init__(self) -> None:
        self._has_text = self._owes = False

    def ends(self) -> None:
        self._owes = self._has_text

    def join(self, text: str) -> str:
        if not text:
            return ""
        before, self._owes, self._has_text = BETWEEN_TURNS if self._owes else "", False, True
        return before + text


class TurnRelay:
    """Hear every event of one loop, then finish it. Deltas are told as they come; the end of a turn is held back until
    it is known to be the last one."""

    def __init__(self, tell: Callable[[TextDelta], None], note: Callable[[str], None]) -> None:
        """note: called with a line for people, of each call."""
        self.tools: Mapping[str, ServerTool] = {}
        self._tell = tell
        self._note = note
        self._end: TextDelta | None = None
        self._num_calls = 0
        self._indices: dict[int, int] = {}
        """Of this turn's calls that are the client's: their place in the answer."""
        self._text, self._reasoning = _Joined(), _Joined()

    def hear(self, event: LoopEvent) -> None:
        if isinstance(event, Wrote):
            self._wrote(event.delta)
        elif isinstance(event, CallEnded):
            self._note(f"{event.call.name} {'failed' if event.output.is_error else 'completed'}")
        elif isinstance(event, OutOfTokens) and self._end is not None:
            self._end = msgspec.structs.replace(self._end, finish_reason="length")

    def finish(self) -> None:
        if self._end is not None:
            self._tell(self._end)

    def _wrote(self, delta: TextDelta) -> None:
        if self._end is not None:  # It wasn't the last turn.
            self._end, self._indices = None, {}
            self._text.ends()
            self._reasoning.ends()
        shown = msgspec.structs.replace(
            delta,
            text=self._text.join(delta.text),
            reasoning=self._reasoning.join(delta.reasoning),
            calls=self._calls(delta.calls),
        )
        if delta.finish_reason is None:
            self._tell(shown)
            return
        self._tell(msgspec.structs.replace(shown, finish_reason=None, stop=None, format_error=None, has_calls=False))
        nothing: dict[str, Any] = {"text": "", "reasoning": "", "calls": [], "tokens": None, "token_ids": []}
        has_calls = delta.has_calls and bool(self._indices)
        self._end = msgspec.structs.replace(
            delta, **nothing, ends=[], num_tokens=0, num_reasoning_tokens=0, has_calls=has_calls
        )

    def _calls(self, calls: list[CallDelta]) -> list[CallDelta]:
        kept = []
        for call in calls:
            if call.name and call.name not in self.tools:
                self._indices[call.index] = self._num_calls
                self._num_calls += 1
            if call.index in self._indices:
                kept.append(msgspec.structs.replace(call, index=self._indices[call.index]))
        return kept
