"""What the server is doing: a panel for each model that there is room for, and the requests in flight."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal

from llmos_tui import words
from llmos_tui.calls.live import abort_request, follow_overview, follow_pages, follow_requests
from llmos_tui.feeds import Feed
from llmos_tui.history import History
from llmos_tui.messages import FeedRefused, OverviewArrived, PagesArrived, RequestsArrived
from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.dashboard.request import RequestScreen
from llmos_tui.screens.dialog import ConfirmScreen
from llmos_tui.widgets.model_panel import ModelPanel
from llmos_tui.widgets.request_table import RequestTable
from llmos_tui.widgets.rows import Rows
from llmos_tui.widgets.usage_bar import UsageBar
from llmos_tui.wire.live import InFlight, LiveModel, Overview, PageMap

PANEL_CELLS = 66
MAX_PANELS = 4
PAGES_SECONDS = 1.0
"""Between two maps of pages at least: each one costs its worker a message."""
MODELS = Binding.Group("Model", compact=True)


class DashboardScreen(LLMOSScreen):
    """Everything comes from three kinds of streams, which run only while this is shown."""

    DEFAULT_CSS = """
    DashboardScreen #panels { height: 3fr; min-height: 14; }
    DashboardScreen #server { background: $surface; }
    DashboardScreen RequestTable { height: 2fr; }
    """
    BINDING_GROUP_TITLE = "Dashboard"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "inspect", "Inspect", tooltip="All about this request", id="dashboard.inspect"),
        Binding(
            "x,delete",
            "abort",
            "Abort",
            key_display="x",
            tooltip="End this request, after a question",
            id="dashboard.abort",
        ),
        Binding(
            "left_square_bracket",
            "turn(-1)",
            "Previous",
            key_display="[",
            tooltip="The model before",
            id="dashboard.previous",
            group=MODELS,
        ),
        Binding(
            "right_square_bracket",
            "turn(1)",
            "Next",
            key_display="]",
            tooltip="The next model",
            id="dashboard.next",
            group=MODELS,
        ),
        Binding(
            "d",
            "toggle_distributions",
            "Minute/start",
            tooltip="TTFT and ITL of the last minute, or since the start",
            id="dashboard.distributions",
        ),
    ]

    def __init__(self, place_name: str = "dashboard") -> None:
        super().__init__(place_name)
        self._history = History()
        self._overview: Overview | None = None
        self._maps: dict[str, PageMap] = {}
        self._first = 0
        self._since_start = False
        self._followed: list[str] = []
        self._panels = [ModelPanel() for _ in range(MAX_PANELS)]
        for panel in self._panels:
            panel.display = False  # Until there is something to show.

    def compose_body(self) -> ComposeResult:
        yield UsageBar("memory", id="server")
        with Horizontal(id="panels"):
            yield from self._panels
        yield RequestTable()

    def feeds(self) -> Iterable[Feed]:
        interval = self.llmos.interval
        yield Feed(lambda client: follow_overview(client, interval), OverviewArrived)
        yield Feed(lambda client: follow_requests(client, interval), RequestsArrived)
        self._followed = self._with_pages()
        for name in self._followed:
            follow = partial(follow_pages, model=name, interval=max(interval, PAGES_SECONDS))
            yield Feed(follow, partial(PagesArrived, name))

    # News

    def on_overview_arrived(self, message: OverviewArrived) -> None:
        self._overview = message.overview
        self._history.add(message.overview)
        self._draw()
        if self._with_pages() != self._followed:
            self.restart_feeds()

    def on_pages_arrived(self, message: PagesArrived) -> None:
        self._maps[message.model] = message.pages
        self._draw()

    def on_requests_arrived(self, message: RequestsArrived) -> None:
        had_any = self._current is not None
        self.query_one(RequestTable).show_requests(message.requests)
        if had_any != (self._current is not None):
            self.refresh_bindings()

    def on_feed_refused(self, message: FeedRefused) -> None:
        if message.kind is RequestsArrived:
            self.query_one(RequestTable).show([], empty=f"The server does not list them: {message.reason}")

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        if self._overview is None:
            return
        self._draw_server(self._overview)
        shown = self._shown()
        all_names = [model.name for model in self._overview.models]
        for number, panel in enumerate(self._panels):
            panel.display = number < len(shown)
            if number < len(shown):
                model = shown[number]
                panel.show(
                    model,
                    f"{all_names.index(model.name) + 1}/{len(all_names)}",
                    self._history.of(model.name),
                    self._maps.get(model.name),
                    now=self._overview.time,
                    budget_bytes=self._overview.budget_bytes,
                    since_start=self._since_start,
                )

    def _draw_server(self, overview: Overview) -> None:
        cpu = self._history.cpu_share
        parts = [
            f"{words.size(overview.used_bytes)} of {words.size(overview.budget_bytes)}"
            + (f", {words.size(overview.lent_bytes)} lent to jobs" if overview.lent_bytes else ""),
            f"API process {words.size(overview.rss_bytes)}" + ("" if cpu is None else f", {100 * cpu:.0f} % of a core"),
            f"up {words.age(overview.time - overview.started)}",
            f"LLMOS {overview.version}",
        ]
        share = overview.used_bytes / overview.budget_bytes if overview.budget_bytes else 0.0
        self.query_one("#server", UsageBar).show(share, " · ".join(parts))

    # Which models

    def _shown(self) -> list[LiveModel]:
        """As many as there is room for, from the chosen one on; loaded ones come first."""
        models = self._overview.models if self._overview else []
        loaded = sum(model.state != "unloaded" for model in models)
        room = max(1, min(MAX_PANELS, self.app.size.width // PANEL_CELLS, max(1, loaded)))
        return [models[(self._first + number) % len(models)] for number in range(min(room, len(models)))]

    def _with_pages(self) -> list[str]:
        """Those shown whose pages can be asked for."""
        return [model.name for model in self._shown() if model.pages is not None and model.state == "ready"]

    def action_turn(self, by: int) -> None:
        if self._overview is not None and self._overview.models:
            self._first = (self._first + by) % len(self._overview.models)
            self._draw()
            self.restart_feeds()

    def action_toggle_distributions(self) -> None:
        self._since_start = not self._since_start
        self._draw()

    # Requests

    @property
    def _current(self) -> InFlight | None:
        tables = list(self.query(RequestTable))
        return tables[0].current if tables else None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("inspect", "abort"):
            return True if self._current is not None else None
        return True

    def action_inspect(self) -> None:
        self.query_one(RequestTable).choose()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        self.app.push_screen(RequestScreen(message.row), self._after_inspection)

    def _after_inspection(self, id: str | None) -> None:
        if id is not None:
            self._ask_to_abort(id)

    def action_abort(self) -> None:
        if self._current is not None:
            self._ask_to_abort(self._current.id)

    def _ask_to_abort(self, id: str) -> None:
        text = f"{id} ends with an error for its client, and its pages are free by the next step."

        def answered(is_sure: bool | None) -> None:
            if is_sure:
                self.run_worker(self._abort(id))

        self.app.push_screen(ConfirmScreen("Abort this request?", text, yes="Abort", no="Let it run"), answered)

    async def _abort(self, id: str) -> None:
        if await self.ask(abort_request(self.client, id)) is not None:
            self.notify(f"{id} was aborted.", markup=False)
