"""Input items by their type: wire structs, and the reasoning that a client carries along for us."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from llmos_server.api.bodies.body import convert
from llmos_server.api.schemas.chat import MAX_PARTS, ContentPart
from llmos_server.api.schemas.responses import Item, ObjectId
from llmos_server.errors import InvalidRequest

SEAL = "llmos1."
"""Begin of an encrypted_content of ours: reasoning in base64. It is no secret, `content` shows it as well; clients that
carry nothing else from one request to the next carry this."""

Content = str | Annotated[list[ContentPart], Meta(max_length=MAX_PARTS)]


class MessageItem(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str = "message"
    id: str | None = None
    role: Literal["system", "developer", "user", "assistant"]
    content: Content


class CallItem(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    call_id: ObjectId
    name: str
    namespace: str | None = None
    arguments: str


class CallOutputItem(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    call_id: ObjectId
    output: Content


class TypedText(Struct, kw_only=True):
    text: str
    type: str


class ReasoningInput(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    content: list[TypedText] = []
    encrypted_content: str | None = None
    summary: list[TypedText] = []


class ReferenceItem(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    id: ObjectId


class McpCallItem(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    id: ObjectId
    server_label: str
    name: str
    arguments: str
    output: str | None = None
    error: Any = None
    approval_request_id: str | None = None


class McpListItem(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str


class ApprovalRequestItem(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    id: ObjectId
    server_label: str
    name: str
    arguments: str


class ApprovalResponseItem(Struct, kw_only=True, forbid_unknown_fields=True):
    type: str
    approval_request_id: ObjectId
    approve: bool
    reason: str | None = None


InputItem = (
    MessageItem
    | CallItem
    | CallOutputItem
    | ReasoningInput
    | ReferenceItem
    | McpCallItem
    | McpListItem
    | ApprovalRequestItem
    | ApprovalResponseItem
)

STRUCTS: dict[str, type[InputItem]] = {
    "message": MessageItem,
    "function_call": CallItem,
    "function_call_output": CallOutputItem,
    "reasoning": ReasoningInput,
    "item_reference": ReferenceItem,
    "mcp_call": McpCallItem,
    "mcp_list_tools": McpListItem,
    "mcp_approval_request": ApprovalRequestItem,
    "mcp_approval_response": ApprovalResponseItem,
}


def type_of(item: Item) -> Any:
    """An item without a type is a message, or a reference where it is nothing but an id."""
    kind = item.get("type")
    if kind is not None:
        return kind
    return "item_reference" if "id" in item and "role" not in item else "message"


def read_item(item: Item, where: str) -> InputItem:
    """item: honoured fields only. where: its place in the request. Raises InvalidRequest that names the field."""
    kind = type_of(item)
    struct = STRUCTS.get(kind) if isinstance(kind, str) else None
    if struct is None:
        raise InvalidRequest(
            f"{where}.type: items of the type {str(kind)[:40]!r} aren't supported here: this server has no such tool. "
            f"Leave the item out. Supported: {', '.join(STRUCTS)}.",
            param=f"{where}.type",
            code="unsupported_value",
        )
    try:
        return convert({**item, "type": kind}, struct)
    except InvalidRequest as error:
        place = f"{where}.{error.param}" if error.param else where
        raise InvalidRequest(f"{where}: {error}", param=place, code=error.code) from None


def seal(reasoning: str) -> str:
    return SEAL + base64.b64encode(reasoning.encode()).decode()


def unseal(sealed: str) -> str | None:
    """None for what another server made."""
    if not sealed.startswith(SEAL):
        return None
    try:
        return base64.b64decode(sealed.removeprefix(SEAL), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None


def reasoning_text(item: ReasoningInput) -> str | None:
    """None where there is something that can't be read here."""
    if item.content:
        return "".join(part.text for part in item.content)
    if item.encrypted_content is not None:
        return unseal(item.encrypted_content) or ("\n".join(part.text for part in item.summary) or None)
    return "\n".join(part.text for part in item.summary)


def text_of(content: Content) -> str:
    if isinstance(content, str):
        return content
    return "\n".join((part.refusal if part.type == "refusal" else part.text) or "" for part in content)


def error_text(error: Any) -> str:
    """Of an mcp_call that failed, as OpenAI has it, or a plain text."""
    if isinstance(error, str):
        return error
    if isinstance(error, dict):
        content = error.get("content")
        if isinstance(content, list):
            return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        return str(error.get("message") or error.get("type") or "It failed.")
    return "It failed."
