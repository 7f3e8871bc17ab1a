"""Messages and tools as a template of a given style takes them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from llmos_server.chat.tools.formats import Style
from llmos_server.chat.tools.plain import write_plain

Message = Mapping[str, Any]

_SHORT = re.compile(r"[a-zA-Z0-9]{9}")


class Written(NamedTuple):
    messages: Sequence[Message]
    tools: list[dict[str, Any]] | None


def write_history(
    messages: Sequence[Message], tools: list[dict[str, Any]] | None, style: Style, *, in_system: bool
) -> Written:
    """in_system: the template takes a system message."""
    if not style.is_native:
        return Written(write_plain(messages, tools, in_system=in_system) if messages else messages, None)
    if style.format.has_short_ids:
        messages = [_with_short_ids(message) for message in messages]
    return Written(messages, tools)


def _with_short_ids(message: Message) -> Message:
    """Ids that another model's calls got, shortened the same way in a call and its result."""
    made = dict(message)
    if isinstance(made.get("tool_call_id"), str):
        made["tool_call_id"] = _shorten(made["tool_call_id"])
    if made.get("tool_calls"):
        made["tool_calls"] = [
            {**call, "id": _shorten(call["id"])} if isinstance(call.get("id"), str) else call
            for call in made["tool_calls"]
        ]
    return made


def _shorten(text: str) -> str:
    return text if _SHORT.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()[:9]
