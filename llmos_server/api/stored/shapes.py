"""Items as they are stored and shown: with an id, a type and a status, and content as a list of parts."""

from __future__ import annotations

import uuid
from typing import Any

from llmos_server.api.bodies.field_rules import check_typed
from llmos_server.api.responding.fields import ITEMS
from llmos_server.api.responding.items import read_item, type_of
from llmos_server.api.schemas.responses import Item
from llmos_server.errors import InvalidRequest

_PREFIXES = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "reasoning": "rs",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
    "mcp_approval_request": "mcpr",
    "mcp_approval_response": "mcpa",
}
_WITH_STATUS = ("message", "function_call", "function_call_output")


def read_new_items(items: list[Item]) -> list[Item]:
    """What a client wants stored, as it is stored. Raises InvalidRequest for what no request could go on from."""
    for place, item in enumerate(items):
        _check(check_typed(item, ITEMS), f"items[{place}]")
    return [_with_id(to_resource(item)) for item in items]


def to_resource(item: Item) -> Item:
    """What was sent as an input's item."""
    kind = type_of(item)
    shown: dict[str, Any] = {**item, "type": kind}
    if kind == "message":
        shown["content"] = _to_parts(item.get("content"), str(item.get("role")))
    if kind in _WITH_STATUS and shown.get("status") is None:
        shown["status"] = "completed"
    return shown


def _check(item: Item, where: str) -> None:
    read_item(item, where)
    if type_of(item) == "item_reference":
        raise InvalidRequest(
            f"{where}: send the item itself; a reference names one that is stored elsewhere.",
            param=f"{where}.type",
            code="unsupported_value",
        )


def _with_id(item: Item) -> Item:
    if item.get("id") is not None:
        return item
    return {**item, "id": f"{_PREFIXES.get(item['type'], 'item')}_{uuid.uuid4().hex}"}


def _to_parts(content: Any, role: str) -> list[Any]:
    """A message's content, which may be sent as a text."""
    if content is None:
        return []
    if not isinstance(content, str):
        return list(content)
    if role == "assistant":
        return [{"type": "output_text", "text": content, "annotations": [], "logprobs": []}]
    return [{"type": "input_text", "text": content}]
