"""Who may use the server, and how much."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from llmos_tui import words
from llmos_tui.calls.keys import change_key, create_key, list_keys, revoke_key
from llmos_tui.calls.polling import poll
from llmos_tui.feeds import Feed
from llmos_tui.messages import KeysArrived
from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.dialog import ConfirmScreen
from llmos_tui.screens.keys.form import KeyForm
from llmos_tui.screens.keys.made import KeyMade
from llmos_tui.screens.record import RecordScreen
from llmos_tui.widgets.key_table import KeyTable, allowed, state
from llmos_tui.widgets.rows import Rows
from llmos_tui.wire.keys import Key

LOOK_SECONDS = 15.0
"""Keys change seldom, and each look is a line in the server's log."""


class KeysScreen(LLMOSScreen):
    """All keys; revoked ones stay in the list, as what they used is still accounted."""

    BINDING_GROUP_TITLE = "Keys"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "Details", tooltip="All about this key, but for its secret", id="keys.inspect"),
        Binding("n", "create", "New", tooltip="Make a key; it is shown once", id="keys.create"),
        Binding("l", "change", "Limits", tooltip="Change its name and limits", id="keys.change"),
        Binding("x,delete", "revoke", "Revoke", key_display="x", tooltip="For good; asks first", id="keys.revoke"),
    ]

    def compose_body(self) -> ComposeResult:
        yield KeyTable()

    def feeds(self) -> Iterable[Feed]:
        yield Feed(partial(poll, list_keys, seconds=max(LOOK_SECONDS, self.llmos.interval)), KeysArrived)

    def on_keys_arrived(self, message: KeysArrived) -> None:
        self.query_one(KeyTable).show_keys(message.keys.data)
        self.refresh_actions()

    @property
    def _current(self) -> Key | None:
        tables = list(self.query(KeyTable))
        return tables[0].current if tables else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        key = self._current
        if action == "inspect":
            return None if key is None else True
        if action in ("change", "revoke"):
            return True if key is not None and key.revoked is None else None
        return True

    def on_rows_moved(self, message: Rows.Moved) -> None:
        self.refresh_actions()

    def action_inspect(self) -> None:
        self.query_one(KeyTable).choose()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        self.app.push_screen(RecordScreen(f"The key {message.row.name}", facts(message.row)))

    # Changes

    def action_create(self) -> None:
        self.app.push_screen(KeyForm(), self._create)

    def _create(self, fields: dict[str, Any] | None) -> None:
        if fields is not None:
            self.run_worker(self._make(fields))

    async def _make(self, fields: dict[str, Any]) -> None:
        key = await self.ask(create_key(self.client, fields))
        if key is not None:
            self.app.push_screen(KeyMade(key.name, key.key or ""))
            self.restart_feeds()

    def action_change(self) -> None:
        key = self._current
        if key is None:
            return

        def answered(fields: dict[str, Any] | None) -> None:
            if fields:
                self.run_worker(self._change(key, fields))

        self.app.push_screen(KeyForm(key), answered)

    async def _change(self, key: Key, fields: dict[str, Any]) -> None:
        if await self.ask(change_key(self.client, key.id, fields)) is not None:
            self.notify(f"{key.name} was changed: {', '.join(fields)}.", markup=False)
            self.restart_feeds()

    def action_revoke(self) -> None:
        key = self._current
        if key is None:
            return

        def answered(is_sure: bool | None) -> None:
            if is_sure:
                self.run_worker(self._revoke(key))

        text = f"{key.id}, made {words.moment(key.created)} UTC. Its next request is refused. This can't be taken back."
        question = ConfirmScreen(f"Revoke the key of {key.name}?", text, yes="Revoke", no="Let it live")
        self.app.push_screen(question, answered)

    async def _revoke(self, key: Key) -> None:
        if await self.ask(revoke_key(self.client, key.id)) is not None:
            self.notify(f"The key of {key.name} was revoked.", markup=False)
            self.restart_feeds()


def facts(key: Key) -> list[tuple[str, Any]]:
    times = (("made", key.created), ("last used", key.last_used), ("revoked", key.revoked))
    return [
        ("id", key.id),
        ("state", state(key)),
        *((name, allowed(getattr(key, name))) for name in ("models", "skills", "tools")),
        ("requests at once", "no limit" if key.max_in_flight is None else str(key.max_in_flight)),
        ("tokens a minute", "no limit" if key.tokens_per_minute is None else str(key.tokens_per_minute)),
        *((name, "never" if time is None else f"{words.moment(time)} UTC") for name, time in times),
    ]
