"""Ollama's messages as a chat completion has them: calls have ids, and a tool's message says which call it answers."""

from __future__ import annotations

from collections.abc import Sequence

from llmos_server.api.schemas.chat import ChatMessage
from llmos_server.api.schemas.ollama import OllamaCall, OllamaMessage
from llmos_server.errors import InvalidRequest


class OpenCalls:
    """Calls without a result so far, oldest first: (id, function)."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._num_made = 0

    def add(self, call: OllamaCall) -> str:
        """Its id; made up of nine letters and digits, as some templates want it, where it has none."""
        self._num_made += 1
        call_id = call.id or f"call{self._num_made:05d}"
        self._open.append((call_id, call.function.name))
        return call_id

    def answer(self, message: OllamaMessage, where: str) -> str:
        """The id of the call whose result this is. Raises InvalidRequest."""
        if message.tool_call_id is not None:
            self._open = [call for call in self._open if call[0] != message.tool_call_id]
            return message.tool_call_id
        for place, (call_id, name) in enumerate(self._open):
            if message.tool_name in (None, name):
                del self._open[place]
                return call_id
        called = f"to {message.tool_name[:128]!r} " if message.tool_name else ""
        raise InvalidRequest(
            f"{where}: no assistant message before it has a call {called}without a result among its tool_calls.",
            param=where,
            code="invalid_value",
        )


def to_messages(messages: Sequence[OllamaMessage]) -> list[ChatMessage]:
    """Raises InvalidRequest that names the message."""
    calls = OpenCalls()
    return [_to_message(message, calls, f"messages[{place}]") for place, message in enumerate(messages)]


def _to_message(message: OllamaMessage, calls: OpenCalls, where: str) -> ChatMessage:
    made = [_to_call(call, calls.add(call)) for call in message.tool_calls or []]
    shaped = ChatMessage(
        role=message.role,
        content=message.content or "",
        reasoning_content=message.thinking or None,
        tool_calls=made or None,
    )
    if message.role == "tool":
        shaped.tool_call_id = calls.answer(message, where)
        shaped.name = message.tool_name
    return shaped


def _to_call(call: OllamaCall, call_id: str) -> dict[str, object]:
    function = {"name": call.function.name, "arguments": call.function.arguments or {}}
    return {"id": call_id, "type": "function", "function": function}
