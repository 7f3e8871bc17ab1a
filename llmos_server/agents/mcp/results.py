"""A tool's result as text for a model: what it can't be shown is named, what is too long is cut, and told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from llmos_server.agents.tool import ToolOutput
from llmos_server.chat.answer_check import UNCHECKED, explain_within_bounds
from llmos_server.chat.guarded import shared_guard


class CallResult(Protocol):
    """As the SDK has it."""

    @property
    def content(self) -> Sequence[Any]: ...
    @property
    def structured_content(self) -> Any: ...
    @property
    def is_error(self) -> bool | None: ...


async def to_output(result: CallResult, output_schema: dict[str, Any] | None, max_bytes: int) -> ToolOutput:
    is_error = bool(result.is_error)
    if output_schema is not None and not is_error:
        mismatch = await _explain(result.structured_content, output_schema)
        if mismatch is not None:
            return ToolOutput(text=f"The tool's result isn't what the tool declares: {mismatch}", is_error=True)
    return ToolOutput(text=cut(_text(result), max_bytes), is_error=is_error)


def cut(text: str, max_bytes: int) -> str:
    encoded = text.encode()
    if len(encoded) <= max_bytes:
        return text
    shown = encoded[:max_bytes].decode("utf-8", "ignore")
    return f"{shown}\n[The result is cut: these are the first {max_bytes} of its {len(encoded)} bytes.]"


async def _explain(structured: Any, schema: dict[str, Any]) -> str | None:
    if structured is None:
        return "it has no structured content"
    text = msgspec.json.encode(structured).decode()
    mismatch = await shared_guard().in_thread(explain_within_bounds, schema, text)
    return None if mismatch == UNCHECKED else mismatch


def _text(result: CallResult) -> str:
    """Servers that have structured content mostly send it as text, too, for older clients: once is enough."""
    structured = result.structured_content
    parts = [_part(block) for block in result.content]
    if structured is None or _wraps(structured, "\n".join(parts)):
        return "\n".join(parts)
    parts = [part for part in parts if not _says(part, structured)]
    return "\n".join([*parts, msgspec.json.encode(structured).decode()])


def _wraps(structured: Any, text: str) -> bool:
    """The SDK's own form for tools that return no object."""
    if not isinstance(structured, dict) or structured.keys() != {"result"}:
        return False
    return structured["result"] == text or _says(text, structured["result"])


def _says(part: str, structured: Any) -> bool:
    try:
        return bool(msgspec.json.decode(part) == structured)
    except (msgspec.DecodeError, RecursionError):
        return False


def _part(block: Any) -> str:
    match block.type:
        case "text":
            return str(block.text)
        case "image" | "audio":
            return f"[{block.type} ({block.mime_type}): not shown, this server passes text on]"
        case "resource_link":
            return f"[resource {block.name} ({block.uri}): not fetched]"
        case "resource" if getattr(block.resource, "text", None) is not None:
            return str(block.resource.text)
        case "resource":
            return f"[resource {block.resource.uri}: not shown, this server passes text on]"
        case _:
            return f"[{str(block.type)[:40]}: not supported]"
