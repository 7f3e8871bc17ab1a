"""Requests about the conversations that the server keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmos_tui.client import Client, in_path
from llmos_tui.wire.common import Anything
from llmos_tui.wire.conversations import Conversation, ConversationList, Item, ItemList

PATH = "/v1/conversations"
MAX_NEW_ITEMS = 20
"""Of one request."""
PAGE = 100
MAX_LISTED = 1000
"""Conversations, the newest ones."""


async def list_conversations(client: Client) -> list[Conversation]:
    """One's own, newest first."""
    found: list[Conversation] = []
    after = None
    while len(found) < MAX_LISTED:
        page = await client.get(PATH, ConversationList, {"limit": PAGE, "after": after})
        found += page.data
        if not page.has_more or page.last_id is None:
            break
        after = page.last_id
    return found


async def create_conversation(client: Client, metadata: Mapping[str, str]) -> Conversation:
    return await client.send("POST", PATH, Conversation, body={"metadata": metadata})


async def update_conversation(client: Client, id: str, metadata: Mapping[str, str]) -> Conversation:
    """metadata: all of it anew."""
    return await client.send("POST", f"{PATH}/{in_path(id)}", Conversation, body={"metadata": metadata})


async def delete_conversation(client: Client, id: str) -> None:
    await client.send("DELETE", f"{PATH}/{in_path(id)}", Anything)


async def list_items(client: Client, id: str) -> list[Item]:
    """All of them, in the order in which they were added."""
    found: list[Item] = []
    after = None
    while True:
        page = await client.get(
            f"{PATH}/{in_path(id)}/items", ItemList, {"limit": PAGE, "order": "asc", "after": after}
        )
        found += page.data
        if not page.has_more or page.last_id is None:
            return found
        after = page.last_id


async def add_items(client: Client, id: str, items: Sequence[Mapping[str, Any]]) -> list[str]:
    """Their ids. items: at most MAX_NEW_ITEMS."""
    added = await client.send("POST", f"{PATH}/{in_path(id)}/items", ItemList, body={"items": items})
    return [item.id for item in added.data]


async def delete_item(client: Client, id: str, item: str) -> None:
    await client.send("DELETE", f"{PATH}/{in_path(id)}/items/{in_path(item)}", Anything)
