"""What holds for every stream of /v1/responses, checked event by event; and the response that its events add up to."""

from __future__ import annotations

import json
from typing import Any

LAST = {"response.completed", "response.incomplete", "response.failed"}
TEXTS = {"response.output_text": "output_text", "response.reasoning_text": "reasoning_text"}
ARGUMENTS = ("response.function_call_arguments", "response.mcp_call_arguments")


def parse(text: str) -> list[dict[str, Any]]:
    """Events of a body; each says its type twice."""
    events = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if not lines:
            continue
        name, data = (line.split(": ", 1)[1] for line in lines)
        events.append(json.loads(data))
        assert events[-1]["type"] == name
    return events


def assemble(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Checks order, numbers and ids; returns the last event's response, which the deltas have added up to."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1]["type"] in LAST
    assert not LAST & {event["type"] for event in events[:-1]}
    for event in events[:2]:
        assert event["response"]["status"] == "in_progress"
        assert event["response"]["output"] == []
    last = events[-1]["response"]
    assert f"response.{last['status']}" == events[-1]["type"]
    assert {event["response"]["id"] for event in events if "response" in event} == {last["id"]}
    items: list[Item] = []
    for event in events[2:-1]:
        if event["type"] == "response.output_item.added":
            assert event["output_index"] == len(items)
            items.append(Item(event["item"]))
        else:
            items[event["output_index"]].take(event)
    assert all(item.is_done for item in items)
    assert [item.final for item in items] == last["output"]
    assert len({item.id for item in items}) == len(items)
    return last


class Item:
    def __init__(self, item: dict[str, Any]) -> None:
        self.id = item["id"]
        self.added = item
        self.final: dict[str, Any] = {}
        self.is_done = False
        self._part: dict[str, Any] | None = None
        self._deltas: list[str] = []
        self._text: str | None = None
        self._has_done_part = False

    def take(self, event: dict[str, Any]) -> None:
        assert not self.is_done, event
        kind = event["type"]
        if kind == "response.output_item.done":
            self._finish(event["item"])
            return
        assert event["item_id"] == self.id
        if "content_index" in event:
            assert event["content_index"] == 0
        base, _, step = kind.rpartition(".")
        if kind == "response.content_part.added":
            assert self._part is None
            self._part = event["part"]
            assert self._part["text"] == ""
        elif kind == "response.content_part.done":
            assert self._text is not None
            assert event["part"]["text"] == self._text
            self._part, self._has_done_part = event["part"], True
        elif base in TEXTS:
            assert self._part is not None
            assert self._part["type"] == TEXTS[base]
            self._delta_or_done(event, step, event.get("text"))
        elif base in ARGUMENTS:
            self._delta_or_done(event, step, event.get("arguments"))
        else:
            assert base in ("response.mcp_call", "response.mcp_list_tools"), kind

    def _delta_or_done(self, event: dict[str, Any], step: str, whole: Any) -> None:
        assert self._text is None
        if step == "delta":
            assert event["delta"]
            self._deltas.append(event["delta"])
        else:
            self._text = "".join(self._deltas)
            assert whole == self._text

    def _finish(self, item: dict[str, Any]) -> None:
        self.is_done, self.final = True, item
        assert (item["id"], item["type"]) == (self.id, self.added["type"])
        assert item.get("status") != "in_progress"
        if item["type"] in ("message", "reasoning"):
            assert self._has_done_part
            assert item["content"] == [self._part]
        if item["type"] in ("function_call", "mcp_call"):
            assert item["arguments"] == self._text


def without_ids(response: dict[str, Any]) -> dict[str, Any]:
    """As streamed and unstreamed ones can be compared."""
    shown = {key: value for key, value in response.items() if key not in ("id", "created_at", "completed_at")}
    items = [{key: value for key, value in item.items() if key not in ("id", "call_id")} for item in response["output"]]
    return {**shown, "output": items}
