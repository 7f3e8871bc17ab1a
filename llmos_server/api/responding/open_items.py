"""Output items while they are written: each knows its place, its events, and what it is when it has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmos_server.api.schemas.responses import Item
from llmos_server.chat.deltas import TokenText

Put = Callable[..., None]
"""put(type, **fields): one event."""


class OpenItem:
    """item: the object in the response's output, filled in as it is written."""

    def __init__(self, item: Item, place: int, put: Put) -> None:
        self.item = item
        self._at: dict[str, Any] = {"item_id": item["id"], "output_index": place}
        self._put = put
        put(
            "response.output_item.added",
            output_index=place,
            item={**item, "content": []} if "content" in item else item,
        )

    def _done(self, status: str) -> None:
        if "status" in self.item:
            self.item["status"] = status
        self._put("response.output_item.done", output_index=self._at["output_index"], item=self.item)

    def close(self, status: str) -> None:
        """status: completed or incomplete."""
        self._done(status)


class OpenText(OpenItem):
    """An item with one part of text."""

    def __init__(self, item: Item, part: dict[str, Any], place: int, put: Put, event: str) -> None:
        super().__init__(item, place, put)
        self._part = part
        self._event = event
        self._pieces: list[str] = []
        self._at_part = {**self._at, "content_index": 0}
        put("response.content_part.added", **self._at_part, part=part)
        item["content"] = [part]

    def write(self, text: str, **extra: Any) -> None:
        self._pieces.append(text)
        self._put(f"{self._event}.delta", **self._at_part, delta=text, **extra)

    def close(self, status: str, **extra: Any) -> None:
        self._part["text"] = "".join(self._pieces)
        self._put(f"{self._event}.done", **self._at_part, text=self._part["text"], **extra)
        self._put("response.content_part.done", **self._at_part, part=self._part)
        self._done(status)


class OpenReasoning(OpenText):
    def __init__(self, item_id: str, place: int, put: Put, seal: Callable[[str], str] | None) -> None:
        """seal: makes encrypted_content, where that is wanted."""
        item: Item = {
            "id": item_id,
            "type": "reasoning",
            "summary": [],
            "content": [],
            **({"encrypted_content": None} if seal else {}),
            "status": "in_progress",
        }
        super().__init__(item, {"type": "reasoning_text", "text": ""}, place, put, "response.reasoning_text")
        self._seal = seal

    def close(self, status: str, **_: Any) -> None:
        if self._seal is not None:
            self.item["encrypted_content"] = self._seal("".join(self._pieces))
        super().close(status)


class OpenMessage(OpenText):
    def __init__(self, item_id: str, place: int, put: Put) -> None:
        item: Item = {
            "id": item_id,
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        part = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}
        super().__init__(item, part, place, put, "response.output_text")
        self._pending: list[dict[str, Any]] = []
        """Of tokens whose text is held back."""

    def feed(self, text: str, tokens: list[TokenText]) -> None:
        found = [_logprob(token) for token in tokens]
        self._pending += found
        self._part["logprobs"] += found
        if text:
            told, self._pending = self._pending, []
            self.write(text, logprobs=[_without_bytes(entry) for entry in told])

    def close(self, status: str, **_: Any) -> None:
        super().close(status, logprobs=[_without_bytes(entry) for entry in self._part["logprobs"]])


class OpenCall(OpenItem):
    """A function_call or mcp_call whose arguments are being written."""

    def __init__(self, item: Item, place: int, put: Put, event: str) -> None:
        super().__init__(item, place, put)
        self._event = event
        self._pieces: list[str] = []

    def write(self, arguments: str) -> None:
        self._pieces.append(arguments)
        self._put(f"{self._event}.delta", **self._at, delta=arguments)

    def end_arguments(self) -> None:
        self.item["arguments"] = "".join(self._pieces)
        named = {"name": self.item["name"]} if self.item["type"] == "function_call" else {}
        self._put(f"{self._event}.done", **self._at, **named, arguments=self.item["arguments"])

    def close(self, status: str) -> None:
        self.end_arguments()
        self._done(status)


class OpenServerCall(OpenCall):
    """One that this server runs: it stays open until it was run."""

    def __init__(
        self, item_id: str, label: str, name: str, place: int, put: Put, approval_id: str | None = None
    ) -> None:
        item: Item = {
            "id": item_id,
            "type": "mcp_call",
            "server_label": label,
            "name": name,
            "arguments": "",
            "output": None,
            "error": None,
            "approval_request_id": approval_id,
            "status": "in_progress",
        }
        super().__init__(item, place, put, "response.mcp_call_arguments")
        put("response.mcp_call.in_progress", **self._at)

    def finish(self, text: str, *, is_error: bool) -> None:
        if is_error:
            self.item["error"] = {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": text}]}
        else:
            self.item["output"] = text
        status = "failed" if is_error else "completed"
        self._put(f"response.mcp_call.{status}", **self._at)
        self._done(status)

    def give_up(self) -> None:
        """The answer ended before it was run."""
        self._done("incomplete")


def _logprob(token: TokenText) -> dict[str, Any]:
    return {
        "token": token.text,
        "logprob": token.logprob,
        "bytes": list(token.bytes),
        "top_logprobs": [
            {"token": text, "logprob": logprob, "bytes": list(data)} for _, text, data, logprob in token.top
        ],
    }


def _without_bytes(entry: dict[str, Any]) -> dict[str, Any]:
    top = [{"token": other["token"], "logprob": other["logprob"]} for other in entry["top_logprobs"]]
    return {"token": entry["token"], "logprob": entry["logprob"], "top_logprobs": top}
