"""Items to a chat's messages. What a model did in one turn is one assistant's message there, several items here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from llmos_server.api.responding.items import (
    ApprovalRequestItem,
    ApprovalResponseItem,
    CallItem,
    CallOutputItem,
    InputItem,
    McpCallItem,
    MessageItem,
    ReasoningInput,
    error_text,
    reasoning_text,
)
from llmos_server.api.schemas.chat import ChatMessage
from llmos_server.errors import InvalidRequest

NOT_APPROVED = "This call was not approved, so it was not run."
DECLINED = "This call was declined, so it was not run."


@dataclass(kw_only=True)
class History:
    messages: list[ChatMessage] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    """Of each message: where in the request it comes from."""
    approved: list[ApprovalRequestItem] = field(default_factory=list)
    """Calls that the input approves, and that have not been run."""
    server_calls: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    """Functions of calls of the server's tools, by their own names, each with where its tool comes from."""
    unread: list[str] = field(default_factory=list)
    """Places of what can't be read here and changes no more than the model's memory of its reasoning."""


def function_name(namespace: str | None, name: str) -> str:
    """As the model knows it."""
    return f"{namespace}.{name}" if namespace else name


def read_history(instructions: str | None, items: Sequence[tuple[str, InputItem]]) -> History:
    """items: each with its place, oldest first. Raises InvalidRequest that names the place."""
    reader = _Reader(items)
    if instructions is not None:
        reader.add(ChatMessage(role="system", content=instructions), "instructions")
    for where, item in items:
        reader.read(item, where)
    reader.end_turn()
    return reader.history


class _Reader:
    def __init__(self, items: Sequence[tuple[str, InputItem]]) -> None:
        self.history = History()
        self._decisions = {
            item.approval_request_id: item for _, item in items if isinstance(item, ApprovalResponseItem)
        }
        self._run = {item.approval_request_id for _, item in items if isinstance(item, McpCallItem)}
        self._requests: set[str] = set()
        self._known: set[str] = set()
        self._turn: ChatMessage | None = None
        """An assistant's message that more items may belong to, and where it began."""
        self._turn_place = ""
        self._results: list[tuple[ChatMessage, str]] = []
        """Of the server's tools that this turn called."""
        self._reasoning: list[str] = []

    def add(self, message: ChatMessage, where: str) -> None:
        self.history.messages.append(message)
        self.history.places.append(where)

    def read(self, item: InputItem, where: str) -> None:
        if isinstance(item, MessageItem):
            self._message(item, where)
        elif isinstance(item, ReasoningInput):
            self._think(item, where)
        elif isinstance(item, CallItem):
            self._call(item.call_id, function_name(item.namespace, item.name), item.arguments, where)
        elif isinstance(item, CallOutputItem):
            self._output(item, where)
        elif isinstance(item, McpCallItem):
            result = error_text(item.error) if item.output is None else item.output
            self._server_call(item, result, where)
        elif isinstance(item, ApprovalRequestItem):
            self._ask_approval(item, where)
        elif isinstance(item, ApprovalResponseItem) and item.approval_request_id not in self._requests:
            raise InvalidRequest(
                f"{where}.approval_request_id: no mcp_approval_request before it has the id "
                f"{item.approval_request_id!r}; send that item, too, or name its response in previous_response_id.",
                param=f"{where}.approval_request_id",
                code="invalid_value",
            )

    def end_turn(self) -> None:
        if self._turn is None and self._reasoning:
            self._begin(ChatMessage(role="assistant", content=""), self._turn_place)
        if self._turn is not None:
            self.add(self._turn, self._turn_place)
        for message, where in self._results:
            self.add(message, where)
        self._turn, self._results = None, []

    def _begin(self, message: ChatMessage, where: str) -> ChatMessage:
        message.reasoning_content = "".join(self._reasoning) or None
        self._reasoning = []
        self._turn, self._turn_place = message, where
        return message

    def _message(self, item: MessageItem, where: str) -> None:
        if item.role == "assistant" and self._reasoning:
            self._begin(ChatMessage(role="assistant", content=item.content), where)
            return
        self.end_turn()
        message = ChatMessage(role=item.role, content=item.content)
        if item.role == "assistant":
            self._begin(message, where)
        else:
            self.add(message, where)

    def _think(self, item: ReasoningInput, where: str) -> None:
        self.end_turn()
        self._turn_place = where
        text = reasoning_text(item)
        if text is None:
            self.history.unread.append(f"{where}.encrypted_content")
        else:
            self._reasoning.append(text)

    def _call(self, call_id: str, name: str, arguments: str, where: str) -> dict[str, Any]:
        turn = self._turn or self._begin(ChatMessage(role="assistant"), where)
        call = {"name": name, "arguments": arguments}
        turn.tool_calls = [*(turn.tool_calls or []), {"id": call_id, "type": "function", "function": call}]
        self._known.add(call_id)
        return call

    def _output(self, item: CallOutputItem, where: str) -> None:
        if item.call_id not in self._known:
            raise InvalidRequest(
                f"{where}.call_id: no function_call before it has the call_id {item.call_id!r}; send that item, too, "
                "or name its response in previous_response_id.",
                param=f"{where}.call_id",
                code="invalid_value",
            )
        self.end_turn()
        self.add(ChatMessage(role="tool", tool_call_id=item.call_id, content=item.output), where)

    def _server_call(self, item: McpCallItem | ApprovalRequestItem, result: str, where: str) -> None:
        call_id = item.id
        call = self._call(call_id, item.name, item.arguments, where)
        self.history.server_calls.append((call, item.server_label))
        self._results.append((ChatMessage(role="tool", tool_call_id=call_id, content=result), where))

    def _ask_approval(self, item: ApprovalRequestItem, where: str) -> None:
        """One that was run since then is an mcp_call of its own."""
        self._requests.add(item.id)
        decision = self._decisions.get(item.id)
        if item.id in self._run:
            return
        if decision is not None and decision.approve:
            self.history.approved.append(item)
            return
        told = NOT_APPROVED if decision is None else f"{DECLINED} {decision.reason or ''}".strip()
        self._server_call(item, told, where)
