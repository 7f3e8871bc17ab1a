"""No server answers: shall one be started here?"""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Button, Static

from llmos_tui.client import Client
from llmos_tui.screens.dialog import Dialog
from llmos_tui.starting import LocalServer, StartFailed


class StartServerScreen(Dialog[bool]):
    """True when one was started and answers."""

    BINDING_GROUP_TITLE = "No server"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "s", "start", "Start one", tooltip="Start a server here that goes on without this program", id="start.go"
        ),
    ]

    def __init__(self, server: LocalServer, client: Client, reason: str) -> None:
        super().__init__("No server is running")
        self._server, self._client, self._reason = server, client, reason

    def compose_dialog(self) -> ComposeResult:
        yield Static(
            f"{self._reason}\n\nStart one on this machine? It runs `{' '.join(self._server.command)}`, goes on when "
            f"you leave, and writes its log to {self._server.log}.",
            id="start-text",
            markup=False,
        )
        with Horizontal(classes="dialog--buttons"):
            yield Button("Not now", id="no")
            yield Button("Start one", id="start", variant="primary")

    def on_mount(self) -> None:
        self.query_one("#start", Button).focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "start":
            self.action_start()
        else:
            self.action_close()

    def action_start(self) -> None:
        button = self.query_one("#start", Button)
        if not button.disabled:
            button.disabled = True
            self._say("Starting it ... The first start may take a while.")
            self.run_worker(self._start())

    async def _start(self) -> None:
        try:
            await self._server.start(self._client)
        except StartFailed as error:
            self._say(f"The server could not be started. {error}")
            button = self.query_one("#start", Button)
            button.disabled, button.label = False, "Try again"
            return
        self.dismiss(True)

    def _say(self, text: str) -> None:
        self.query_one("#start-text", Static).update(text)
