"""A part of a screen that has keys of its own: they hold while the focus is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.containers import Vertical
from textual.worker import WorkType

from llmos_tui.bindings import can_now
from llmos_tui.client import Client

if TYPE_CHECKING:
    from llmos_tui.screens.base import LLMOSScreen


class View(Vertical):
    """Derive from it as from a screen."""

    DEFAULT_CSS = """
    View { height: 1fr; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._can: list[bool | None] = []

    @property
    def host(self) -> LLMOSScreen:
        """The screen, which asks the server and tells what went wrong."""
        return cast("LLMOSScreen", self.screen)

    @property
    def client(self) -> Client:
        return self.host.client

    def begin(self, work: WorkType[None], group: str) -> None:
        """In place of what is still going on in this group."""
        self.run_worker(work, exclusive=True, group=group)

    def refresh_actions(self) -> None:
        """Asks check_action for each key, and has the footer drawn anew if an answer is another: that is dear."""
        now = can_now(self)
        if now != self._can:
            self._can = now
            self.refresh_bindings()
