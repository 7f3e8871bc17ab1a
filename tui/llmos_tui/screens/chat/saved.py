"""The conversations that the server keeps: open one, give it another name, delete it."""

from __future__ import annotations

from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from llmos_tui import words
from llmos_tui.calls.conversations import delete_conversation, list_conversations, update_conversation
from llmos_tui.client import Client, ClientError
from llmos_tui.screens.chat.choosing import AskLine
from llmos_tui.screens.dialog import ConfirmScreen, Dialog
from llmos_tui.widgets.rows import Column, Rows
from llmos_tui.widgets.told import Told
from llmos_tui.wire.conversations import Conversation


class SavedScreen(Dialog[Conversation]):
    """The one that is to be opened."""

    DEFAULT_CSS = """
    SavedScreen > .dialog { width: 100; }
    SavedScreen Rows { height: 14; }
    SavedScreen #saved-error { color: $error; }
    """
    BINDING_GROUP_TITLE = "Saved chats"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "open", "Open", tooltip="Go on with this one", id="saved.open"),
        Binding("e", "rename", "Rename", tooltip="Another name for it", id="saved.rename"),
        Binding(
            "x,delete",
            "delete",
            "Delete",
            key_display="x",
            tooltip="At the server, after a question",
            id="saved.delete",
        ),
    ]

    def __init__(self, client: Client) -> None:
        super().__init__("Saved chats")
        self._client = client
        columns = [
            Column[Conversation]("TITLE", lambda row: row.title, 20, share=1),
            Column[Conversation]("MODEL", lambda row: row.metadata.get("model", ""), 18, drop=1),
            Column[Conversation]("ITEMS", lambda row: words.count(row.num_items), 5, is_right=True, drop=3),
            Column[Conversation]("CHANGED (UTC)", lambda row: words.moment(row.changed_at), 19, drop=2),
        ]
        self._rows: Rows[Conversation] = Rows(columns, lambda row: row.id, "Looking ...")
        self._error = Told(id="saved-error")

    def compose_dialog(self) -> ComposeResult:
        yield self._rows
        yield self._error

    def on_mount(self) -> None:
        self._rows.focus()
        self._look()

    @work(exclusive=True)
    async def _look(self) -> None:
        try:
            self._rows.show(await list_conversations(self._client), empty="The server keeps none of yours yet.")
        except ClientError as error:
            self._rows.show([], empty="")
            self._error.say(str(error))

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        self.dismiss(message.row)

    def action_open(self) -> None:
        self._rows.choose()

    @work
    async def action_rename(self) -> None:
        if (row := self._rows.current) is None:
            return
        title = await self.app.push_screen_wait(AskLine("Another name", row.title))
        if title is not None:
            await self._do(update_conversation(self._client, row.id, {**row.metadata, "title": title}))

    @work
    async def action_delete(self) -> None:
        if (row := self._rows.current) is None:
            return
        text = f"{row.title!r} and all that was said in it. The server keeps no copy."
        if await self.app.push_screen_wait(ConfirmScreen("Delete this chat?", text, yes="Delete")):
            await self._do(delete_conversation(self._client, row.id))

    async def _do(self, call) -> None:  # type: ignore[no-untyped-def]
        try:
            await call
        except ClientError as error:
            self._error.say(str(error))
            return
        self._error.say("")
        self._look()
