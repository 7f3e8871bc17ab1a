"""Stored responses as items: which ones, what they were asked, and what they have answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmos_server.errors import InvalidRequest
from llmos_server.evaluation.asking import shown_usage, usage_of
from llmos_server.evaluation.sources import Row, StoredResponses

Item = dict[str, Any]
ANSWERED = ("completed", "incomplete")
ITEM_SCHEMA = {"type": "object", "properties": {"input": {"type": "array"}}, "required": ["input"]}
"""Of what to_row() makes."""
_OWN = ("id", "status")
"""Of an item as it was stored; nothing to somebody who is asked anew."""


def matches(wanted: StoredResponses, metadata: Mapping[str, Any], response: Mapping[str, Any]) -> bool:
    """metadata: that the eval wants, beside the run. Times and limit are left to whoever reads them."""
    pairs = {**metadata, **(wanted.metadata or {})}
    has = response.get("metadata") or {}
    search = (wanted.instructions_search or "").casefold()
    return (
        response.get("status") in ANSWERED
        and wanted.model in (None, response.get("model"))
        and all(has.get(name) == value for name, value in pairs.items())
        and search in str(response.get("instructions") or "").casefold()
        and wanted.reasoning_effort in (None, (response.get("reasoning") or {}).get("effort"))
        and wanted.temperature in (None, response.get("temperature"))
        and wanted.top_p in (None, response.get("top_p"))
        and (wanted.users is None or response.get("user") in wanted.users)
        and (wanted.tools is None or not _tools(response).isdisjoint(wanted.tools))
    )


def to_row(
    response: Mapping[str, Any], input_items: Sequence[dict[str, Any]], earlier: Sequence[dict[str, Any]]
) -> Row:
    """earlier: what it went on from. Raises InvalidRequest for what refers to an item that isn't among these."""
    instructions = response.get("instructions")
    asked = [{"role": "system", "content": instructions}] if instructions else []
    known = {item["id"]: item for item in earlier if isinstance(item.get("id"), str)}
    asked += [_plain(item) for item in (*earlier, *(_resolve(item, known) for item in input_items)) if _is_said(item)]
    output = response.get("output") or []
    text = text_of(output)
    item = {
        "id": response["id"],
        "input": asked,
        "output_text": text,
        "model": response.get("model"),
        "instructions": instructions,
        "metadata": response.get("metadata") or {},
        "created_at": response.get("created_at"),
    }
    sample = {
        "output_text": text,
        "output_tools": calls_of(output),
        "model": response.get("model"),
        "finish_reason": finish_reason(response),
        "temperature": response.get("temperature"),
        "top_p": response.get("top_p"),
        "max_completion_tokens": response.get("max_output_tokens"),
        "usage": shown_usage(usage_of(dict(response))),
    }
    return Row(item=item, sample={name: value for name, value in sample.items() if value not in (None, [])})


def text_of(output: Sequence[Item]) -> str:
    parts = [part for item in output if item["type"] == "message" for part in item["content"]]
    return "".join(part.get("text", "") for part in parts)


def calls_of(output: Sequence[Item]) -> list[Item]:
    return [item for item in output if item["type"].endswith("_call")]


def finish_reason(response: Mapping[str, Any]) -> str:
    return "stop" if response.get("status") == "completed" else "length"


def _resolve(item: Item, known: Mapping[str, Item]) -> Item:
    if item.get("type") != "item_reference":
        return item
    found = known.get(str(item.get("id")))
    if found is None:
        raise InvalidRequest("It refers to an item of another response.", code="item_not_found")
    return found


def _is_said(item: Mapping[str, Any]) -> bool:
    """What the model of that time had thought is nothing for another one."""
    return item.get("type") not in ("reasoning", "mcp_list_tools")


def _plain(item: Item) -> Item:
    """Messages as their role and text, all else without what belongs to its place there."""
    if item.get("type") != "message":
        return {name: value for name, value in item.items() if name not in _OWN or item["type"].startswith("mcp_")}
    content = item.get("content")
    if isinstance(content, list):
        texts = [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
        content = texts[0] if len(texts) == 1 else [{"type": "input_text", "text": text} for text in texts]
    return {"role": item["role"], "content": content}


def _tools(response: Mapping[str, Any]) -> set[str]:
    """Functions by their names, the server's own by their types and labels."""
    tools = response.get("tools") or []
    return {str(tool[name]) for tool in tools for name in ("type", "name", "server_label") if tool.get(name)}
