"""Entries of a chat as items of a conversation at the server, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmos_tui.screens.chat.thread import Answer, Call, Entry, Question, Thread
from llmos_tui.wire.conversations import Item, Part

SYSTEM_ROLES = ("system", "developer")


def items_of(entry: Entry) -> list[dict[str, Any]]:
    """In an order that only grows at its end, so that the first len(entry.item_ids) are those that are saved."""
    if isinstance(entry, Question):
        return [_message("user", "input_text", entry.text)]
    items: list[dict[str, Any]] = []
    if entry.reasoning:
        content = [{"type": "reasoning_text", "text": entry.reasoning}]
        items.append({"type": "reasoning", "summary": [], "content": content})
    if entry.text:
        items.append(_message("assistant", "output_text", entry.text))
    for call in entry.calls:
        called = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        items.append({"type": "function_call", **called})
    for call in entry.calls:
        if call.output is None:
            break
        items.append({"type": "function_call_output", "call_id": call.id, "output": call.output})
    return items


def system_item(text: str) -> dict[str, Any]:
    return _message("system", "input_text", text)


def _message(role: str, kind: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def saved(entry: Entry | None, item: dict[str, Any], id: str) -> None:
    """The server has it, under this id. entry: None for the system prompt."""
    if entry is not None:
        entry.item_ids.append(id)
    if isinstance(entry, Answer) and item["type"] == "message":
        entry.message_id = id


class Reading:
    """A conversation's items, in their order, as a chat. What has no place in one (approvals) is counted."""

    def __init__(self, items: Sequence[Item], model: str) -> None:
        self.thread = Thread()
        self.system = ""
        self.system_ids: list[str] = []
        self.num_others = 0
        self._model = model
        for item in items:
            self._add(item)

    def _add(self, item: Item) -> None:
        if item.type == "message" and item.role in SYSTEM_ROLES:
            self.system = _text(item.content)
            self.system_ids.append(item.id)
        elif item.type == "message" and item.role == "user":
            self.thread.entries.append(Question(_text(item.content), [item.id]))
        elif item.type == "message":
            answer = self._answer(is_new=lambda last: bool(last.text or last.calls))
            answer.text += _text(item.content)
            answer.message_id = item.id
            answer.item_ids.append(item.id)
        elif item.type == "reasoning":
            answer = self._answer(is_new=lambda last: not last.is_empty)
            answer.reasoning += _text(item.content) or _text(item.summary)
            answer.item_ids.append(item.id)
        elif item.type in ("function_call", "mcp_call"):
            self._add_call(item)
        elif item.type == "function_call_output":
            self._add_output(item)
        else:
            self.num_others += 1

    def _answer(self, is_new: Any) -> Answer:
        """The one that goes on, or another one."""
        last = self.thread.entries[-1] if self.thread.entries else None
        if isinstance(last, Answer) and not is_new(last):
            return last
        made = Answer(self._model)
        self.thread.entries.append(made)
        return made

    def _add_call(self, item: Item) -> None:
        answer = self._answer(is_new=lambda last: any(call.output is not None for call in last.calls))
        call = Call(item.call_id or item.id, item.name, item.arguments)
        if item.type == "mcp_call":
            call.output = _text(item.output) or item.error or ""
            answer.item_ids.append(item.id)  # It stands for two items of ours: the call and its output.
        answer.calls.append(call)
        answer.item_ids.append(item.id)

    def _add_output(self, item: Item) -> None:
        for entry in reversed(self.thread.entries):
            if isinstance(entry, Answer):
                for call in entry.calls:
                    if call.id == item.call_id:
                        call.output = _text(item.output)
                        entry.item_ids.append(item.id)
                        return
        self.num_others += 1


def _text(content: str | list[Part] | None) -> str:
    if isinstance(content, list):
        return "\n".join(part.words for part in content)
    return content or ""
