"""What a model has written in one turn: its text and its calls, for the next turn's history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmos_server.chat.deltas import TextDelta

Message = dict[str, Any]
"""As in a chat completion's `messages`."""


@dataclass(slots=True, kw_only=True)
class Call:
    id: str
    name: str
    """As the model calls it."""
    arguments: str = ""
    """JSON."""


class Reply:
    """Feed it every delta of one choice."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.num_tokens = 0
        self.is_whole = False
        """It ended in calls, all of them whole."""
        self._text: list[str] = []
        self._reasoning: list[str] = []

    def feed(self, delta: TextDelta) -> None:
        self.num_tokens += delta.num_tokens
        self._text.append(delta.text)
        self._reasoning.append(delta.reasoning)
        for call in delta.calls:
            if call.name:
                self.calls.append(Call(id=call.id, name=call.name))
            self.calls[-1].arguments += call.arguments
        if delta.finish_reason is not None:
            self.is_whole = delta.has_calls

    def message(self) -> Message:
        reasoning = "".join(self._reasoning)
        return {
            "role": "assistant",
            "content": "".join(self._text) or None,
            **({"reasoning_content": reasoning} if reasoning else {}),
            "tool_calls": [to_wire(call) for call in self.calls],
        }


def to_wire(call: Call) -> Message:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def result_message(call: Call, text: str) -> Message:
    return {"role": "tool", "tool_call_id": call.id, "content": text}
