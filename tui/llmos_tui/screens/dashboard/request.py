"""One request in flight, looked at closely."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar, cast

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Static

from llmos_tui import words
from llmos_tui.calls.live import get_request
from llmos_tui.client import ClientError, Refused
from llmos_tui.screens.dialog import Dialog
from llmos_tui.wire.live import InFlight

if TYPE_CHECKING:
    from llmos_tui.app import LLMOSApp

LOOK_SECONDS = 1.0


class RequestScreen(Dialog[str]):
    """Follows it until it ends. Its answer is the id, when it shall be aborted."""

    BINDING_GROUP_TITLE = "Request"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "x,delete",
            "abort",
            "Abort",
            key_display="x",
            tooltip="End this request, after a question",
            id="request.abort",
        ),
    ]

    def __init__(self, request: InFlight) -> None:
        super().__init__(f"Request {request.id}")
        self._request = request

    def compose_dialog(self) -> ComposeResult:
        yield Static(describe(self._request), id="request-facts")
        yield Static("", id="request-end", markup=False)

    def on_mount(self) -> None:
        self.run_worker(self._follow())

    async def _follow(self) -> None:
        client = cast("LLMOSApp", self.app).client
        while True:
            try:
                request = await get_request(client, self._request.id)
            except Refused as error:
                self._say("It has ended." if error.status == 404 else str(error))
                return
            except ClientError as error:
                self._say(str(error))
            else:
                self._say("")
                self.query_one("#request-facts", Static).update(describe(request))
            await asyncio.sleep(LOOK_SECONDS)

    def _say(self, text: str) -> None:
        self.query_one("#request-end", Static).update(text)

    def action_abort(self) -> None:
        self.dismiss(self._request.id)


def describe(request: InFlight) -> Table:
    """All that the server tells; it tells neither prompt nor answer."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column()
    for name, value in _facts(request):
        table.add_row(name, Text(value))
    return table


def _facts(request: InFlight) -> list[tuple[str, str]]:
    facts = [
        ("state", request.state),
        ("model", request.model or "-"),
        ("endpoint", request.endpoint + (", streamed" if request.is_stream else "")),
        ("key", request.key or "(none)"),
        ("client", request.client or "-"),
        ("started", f"{words.moment(request.started)} UTC, {words.age(request.age_seconds)} ago"),
        ("prompt", f"{_number(request.prompt_tokens)} tokens, {_number(request.cached_tokens)} from the prefix cache"),
        ("answer", f"{request.completion_tokens} tokens in {request.num_choices} choice(s)"),
        ("first token", words.seconds(request.ttft_seconds)),
        ("speed", "-" if request.tokens_per_second is None else f"{words.rate(request.tokens_per_second)} tokens/s"),
    ]
    if request.sampling is not None:
        facts.append(("sampling", ", ".join(f"{name} {value}" for name, value in request.sampling.items()) or "-"))
        facts.append(("grammar", "yes" if request.grammar else "no"))
        facts.append(("tools", ", ".join(request.tools) or "none"))
    return facts


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)
