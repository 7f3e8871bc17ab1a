"""Conversations that the server keeps, and what people say of its answers."""

from __future__ import annotations

from llmos_tui.wire.common import Wire


class Conversation(Wire, frozen=True, kw_only=True):
    """Times are Unix seconds. metadata: up to 16 texts; "title" is its name. In lists alone: changed_at, num_items."""

    id: str
    created_at: int = 0
    metadata: dict[str, str] = {}
    changed_at: int | None = None
    num_items: int | None = None

    @property
    def title(self) -> str:
        return self.metadata.get("title") or self.id


class ConversationList(Wire, frozen=True, kw_only=True):
    """A page."""

    data: list[Conversation] = []
    last_id: str | None = None
    has_more: bool = False


class Part(Wire, frozen=True, kw_only=True):
    """Of a message's content, or of a reasoning's."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None

    @property
    def words(self) -> str:
        return self.text or self.refusal or ""


class Item(Wire, frozen=True, kw_only=True):
    """One thing that was said or done; which fields it has depends on its type."""

    id: str = ""
    type: str = "message"
    role: str = ""
    content: str | list[Part] | None = None
    summary: list[Part] | None = None
    call_id: str | None = None
    name: str = ""
    arguments: str = ""
    output: str | list[Part] | None = None
    error: str | None = None


class ItemList(Wire, frozen=True, kw_only=True):
    """A page."""

    data: list[Item] = []
    last_id: str | None = None
    has_more: bool = False


class Feedback(Wire, frozen=True, kw_only=True):
    """A rating (-1, 0, 1) or a correction of an answer, as it is kept."""

    id: str
