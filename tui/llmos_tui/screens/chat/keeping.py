"""A chat that the server keeps: what is new is added, what was taken out is deleted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from llmos_tui.calls.conversations import (
    MAX_NEW_ITEMS,
    add_items,
    create_conversation,
    delete_item,
    list_items,
    update_conversation,
)
from llmos_tui.client import Client, Refused
from llmos_tui.screens.chat.items import Reading, items_of, saved, system_item
from llmos_tui.screens.chat.options import Options, from_kept
from llmos_tui.screens.chat.thread import Answer, Entry, Thread
from llmos_tui.wire.conversations import Conversation

MAX_METADATA_CHARACTERS = 512
"""Of one text, as the server has it."""
GONE = "conversation_not_found"


class Keeper:
    """Of one chat. conversation: None while it isn't saved.

    Invariant: the entries that have ids stand before those that have none, so that adding keeps their order. The system
    prompt is an item, too; changed, it is taken out and added anew at the end, and the last one counts.
    """

    def __init__(self) -> None:
        self.conversation: Conversation | None = None
        self._turn = asyncio.Lock()
        """Two at a time would add the same twice."""
        self._system = ""
        self._system_ids: list[str] = []

    @property
    def title(self) -> str:
        return self.conversation.title if self.conversation else ""

    async def save(self, client: Client, thread: Thread, options: Options, model: str, title: str = "") -> None:
        """Make the server's as it is here. title: of a new one, or another name. Raises ClientError; what was done
        until then isn't done again the next time."""
        try:
            async with self._turn:
                await self._save_head(client, options, model, title)
                await self._delete(client, thread)
                await self._add(client, thread, options)
        except Refused as error:
            if error.code == GONE:
                self.forget(thread)
            raise

    def forget(self, thread: Thread) -> None:
        """The server's is gone: this one is saved nowhere."""
        self.conversation = None
        self._system, self._system_ids = "", []
        thread.removed_ids.clear()
        for entry in thread.entries:
            entry.item_ids.clear()
            if isinstance(entry, Answer):
                entry.message_id = ""

    async def _save_head(self, client: Client, options: Options, model: str, title: str) -> None:
        before = self.conversation
        kept = json.dumps(options.kept(), ensure_ascii=False)
        metadata = {**(before.metadata if before else {}), "model": model}
        metadata.pop("options", None)
        if options.kept() and len(kept) <= MAX_METADATA_CHARACTERS:
            metadata["options"] = kept
        if title:
            metadata["title"] = title[:MAX_METADATA_CHARACTERS]
        if before is None:
            self.conversation = await create_conversation(client, metadata)
        elif metadata != before.metadata:
            self.conversation = await update_conversation(client, before.id, metadata)

    async def _delete(self, client: Client, thread: Thread) -> None:
        assert self.conversation is not None
        while thread.removed_ids:
            try:
                await delete_item(client, self.conversation.id, thread.removed_ids[-1])
            except Refused as error:
                if error.status != 404 or error.code == GONE:
                    raise
            thread.removed_ids.pop()

    async def _add(self, client: Client, thread: Thread, options: Options) -> None:
        assert self.conversation is not None
        todo: list[tuple[Entry | None, dict[str, Any]]] = []
        if options.system != self._system:
            thread.removed_ids += self._system_ids
            await self._delete(client, thread)
            self._system, self._system_ids = "", []
            if options.system:
                todo.append((None, system_item(options.system)))
        for entry in thread.entries:
            if is_told(entry):
                todo += [(entry, item) for item in items_of(entry)[len(entry.item_ids) :]]
        for start in range(0, len(todo), MAX_NEW_ITEMS):
            part = todo[start : start + MAX_NEW_ITEMS]
            ids = await add_items(client, self.conversation.id, [item for _, item in part])
            for (owner, item), id in zip(part, ids, strict=True):
                saved(owner, item, id)
                if owner is not None and owner not in thread.entries:
                    thread.removed_ids.append(id)  # It was taken out meanwhile.
                if owner is None:
                    self._system, self._system_ids = options.system, [id]

    async def open(self, client: Client, conversation: Conversation) -> tuple[Thread, Options, int]:
        """The chat, what is sent with it, and how many items of it have no place in a chat. Raises ClientError."""
        items = await list_items(client, conversation.id)
        reading = Reading(items, conversation.metadata.get("model", ""))
        self.conversation = conversation
        self._system, self._system_ids = reading.system, reading.system_ids
        options = Options(reading.system, from_kept(_object(conversation.metadata.get("options", ""))))
        return reading.thread, options, reading.num_others


def is_told(entry: Entry) -> bool:
    """Is it a part of the chat? A failure without a word isn't."""
    return not isinstance(entry, Answer) or (entry.is_over and not entry.is_empty)


def _object(text: str) -> dict[str, Any]:
    """Of metadata that any client may have written."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
