"""What the loop tells, as output items and their events. The same for streams, whole answers and background work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from llmos_server.agents.calls import Call
from llmos_server.agents.loop import ApprovalNeeded, CallBegan, CallEnded, LoopEvent, OutOfTokens, Wrote
from llmos_server.agents.tool import ServerTool
from llmos_server.agents.toolbox import Listing
from llmos_server.api.responding.items import ApprovalRequestItem, seal
from llmos_server.api.responding.open_items import (
    OpenCall,
    OpenItem,
    OpenMessage,
    OpenReasoning,
    OpenServerCall,
    Put,
)
from llmos_server.api.responding.toolset import Function
from llmos_server.api.schemas.responses import Item
from llmos_server.chat.deltas import CallDelta, TextDelta

O = TypeVar("O", bound=OpenItem)  # noqa: E741


class Output:
    """Hear every event of one loop, then close it."""

    def __init__(self, put: Put, new_id: Callable[[str], str], *, seals_reasoning: bool) -> None:
        """new_id: takes a prefix."""
        self.items: list[Item] = []
        self.finish_reason = "stop"
        """Of the last turn: stop, length or content_filter."""
        self.format_error: str | None = None
        self.num_calls = 0
        """Of the server's tools, that were begun."""
        self.functions: Mapping[str, Function] = {}
        """The client's, by the name that the model calls."""
        self.tools: Mapping[str, ServerTool] = {}
        self.approvals: dict[str, ApprovalRequestItem] = {}
        """By the id of the call that was approved."""
        self._put = put
        self._new_id = new_id
        self._seal = seal if seals_reasoning else None
        self._open: OpenItem | None = None
        self._running: dict[str, OpenServerCall] = {}
        self._call_ids: dict[int, str] = {}
        self._is_empty = True

    def hear(self, event: LoopEvent) -> None:
        if isinstance(event, Wrote):
            self._wrote(event.delta)
        elif isinstance(event, CallBegan):
            self.num_calls += 1
            if event.call.id not in self._running:
                self._began_approved(event.call, event.tool)
        elif isinstance(event, CallEnded):
            self._running.pop(event.call.id).finish(event.output.text, is_error=event.output.is_error)
        elif isinstance(event, ApprovalNeeded):
            self._ask(event.tool, event.call.arguments)
        elif isinstance(event, OutOfTokens):
            self.finish_reason = "length"

    def show_listing(self, listing: Listing) -> None:
        item: Item = {
            "id": self._new_id("mcpl"),
            "type": "mcp_list_tools",
            "server_label": listing.source.label,
            "tools": [],
            "error": None,
        }
        place = self._add(item)
        self._put("response.output_item.added", output_index=place, item=item)
        self._put("response.mcp_list_tools.in_progress", item_id=item["id"], output_index=place)
        item["tools"] = [
            {"name": tool.shown_name, "description": tool.description, "input_schema": tool.parameters}
            for tool in listing.tools
        ]
        item["error"] = listing.error
        ended = "completed" if listing.error is None else "failed"
        self._put(f"response.mcp_list_tools.{ended}", item_id=item["id"], output_index=place)
        self._put("response.output_item.done", output_index=place, item=item)

    def close(self) -> None:
        """The answer ended early, by a failure or because somebody wanted it so."""
        self._end_open("incomplete")
        for call in self._running.values():
            call.give_up()
        self._running = {}

    def _wrote(self, delta: TextDelta) -> None:
        if delta.reasoning:
            self._reasoning().write(delta.reasoning)
        if delta.text:
            self._message().feed(delta.text, delta.tokens or [])
        elif delta.tokens and isinstance(self._open, OpenMessage):
            self._open.feed("", delta.tokens)
        for call in delta.calls:
            self._call(call)
        if delta.finish_reason is not None:
            self._end_turn(delta)

    def _reasoning(self) -> OpenReasoning:
        if isinstance(self._open, OpenReasoning):
            return self._open
        self._end_open("completed")
        opened = self._open = self._track(OpenReasoning(self._new_id("rs"), len(self.items), self._put, self._seal))
        return opened

    def _message(self) -> OpenMessage:
        if isinstance(self._open, OpenMessage):
            return self._open
        self._end_open("completed")
        opened = self._open = self._track(OpenMessage(self._new_id("msg"), len(self.items), self._put))
        return opened

    def _call(self, delta: CallDelta) -> None:
        if delta.name:
            self._end_open("completed")
            self._is_empty = False
            self._call_ids[delta.index] = delta.id
            self._begin_call(delta)
        if delta.arguments and isinstance(self._open, OpenCall):
            self._open.write(delta.arguments)

    def _begin_call(self, delta: CallDelta) -> None:
        tool = self.tools.get(delta.name)
        if tool is None:
            self._open = self._track(OpenCall(self._function_call(delta), len(self.items), self._put, _ARGUMENTS))
        elif not tool.needs_approval:
            call = OpenServerCall(self._new_id("mcp"), tool.label, tool.shown_name, len(self.items), self._put)
            self._open = self._running[delta.id] = self._track(call)

    def _function_call(self, delta: CallDelta) -> Item:
        function = self.functions.get(delta.name) or Function(name=delta.name)
        return {
            "id": self._new_id("fc"),
            "type": "function_call",
            "call_id": delta.id,
            "name": function.name,
            **({"namespace": function.namespace} if function.namespace else {}),
            "arguments": "",
            "status": "in_progress",
        }

    def _end_turn(self, delta: TextDelta) -> None:
        """The last item of a turn that was cut is incomplete, and so are calls of the server's that won't be run."""
        self.finish_reason = delta.finish_reason or "stop"
        self.format_error = delta.format_error
        if self._is_empty:
            self._message()
        is_cut = self.finish_reason != "stop" or (bool(self._call_ids) and not delta.has_calls)
        self._end_open("incomplete" if is_cut else "completed")
        if not delta.has_calls:
            for call in self._running.values():
                call.give_up()
            self._running = {}
        self._call_ids, self._is_empty = {}, True

    def _end_open(self, status: str) -> None:
        opened, self._open = self._open, None
        if isinstance(opened, OpenServerCall):
            opened.end_arguments()
        elif opened is not None:
            opened.close(status)

    def _began_approved(self, call: Call, tool: ServerTool | None) -> None:
        asked = self.approvals[call.id]
        opened = OpenServerCall(
            self._new_id("mcp"), asked.server_label, asked.name, len(self.items), self._put, approval_id=asked.id
        )
        opened.write(call.arguments)
        opened.end_arguments()
        self._running[call.id] = self._track(opened)

    def _ask(self, tool: ServerTool, arguments: str) -> None:
        item: Item = {
            "id": self._new_id("mcpr"),
            "type": "mcp_approval_request",
            "server_label": tool.label,
            "name": tool.shown_name,
            "arguments": arguments,
        }
        place = self._add(item)
        self._put("response.output_item.added", output_index=place, item=item)
        self._put("response.output_item.done", output_index=place, item=item)

    def _track(self, opened: O) -> O:
        self._is_empty = False
        self._add(opened.item)
        return opened

    def _add(self, item: Item) -> int:
        self.items.append(item)
        return len(self.items) - 1


_ARGUMENTS = "response.function_call_arguments"
