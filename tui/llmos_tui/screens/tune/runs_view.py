"""Tuning runs: start, follow, compare and promote one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from llmos_tui.calls import jobs as job_calls
from llmos_tui.calls import tuning as calls
from llmos_tui.client import ClientError
from llmos_tui.screens.chat.choosing import AskLine
from llmos_tui.screens.dialog import ConfirmScreen
from llmos_tui.screens.record import RecordScreen
from llmos_tui.screens.tune.curve_choice import CurveChoice
from llmos_tui.screens.tune.run_facts import facts
from llmos_tui.screens.tune.run_form import FILES, RunForm
from llmos_tui.screens.view import View
from llmos_tui.widgets.curves import Curves
from llmos_tui.widgets.rows import Rows
from llmos_tui.widgets.run_table import RunRow, RunTable
from llmos_tui.wire.jobs import Job, JobDetails
from llmos_tui.wire.tuning import Adapter, TuningRun

ENDED = ("done", "failed", "cancelled")


class RunsView(View):
    """The list, and below it the curves of those that are marked and of the one with the cursor."""

    DEFAULT_CSS = """
    RunsView RunTable { height: 1fr; }
    RunsView Curves { height: 1fr; border-top: solid $secondary; padding: 0 1; }
    """
    BINDING_GROUP_TITLE = "Tune"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New", tooltip="Start a tuning run", id="tune.new"),
        Binding("enter", "inspect", "Details", tooltip="All about this run", id="tune.inspect"),
        Binding("space", "mark", "Compare", tooltip="Lay its curve over others', or not", id="tune.mark"),
        Binding(
            "m", "metric", "Metric", tooltip="Loss, held-out loss, reward and what else runs tell", id="tune.metric"
        ),
        Binding("p", "pause", "Pause", tooltip="Pause this run, or have it go on", id="tune.pause"),
        Binding("x,delete", "cancel", "Cancel", key_display="x", tooltip="End this run; asks first", id="tune.cancel"),
        Binding("s", "promote", "Promote", tooltip="Its model is everybody's, or its owner's again", id="tune.promote"),
        Binding("a", "alias", "Alias", tooltip="Have its model answer to a name of applications'", id="tune.alias"),
        Binding("c", "chat", "Chat", tooltip="Try what came of it", id="tune.chat"),
        Binding("e", "evals", "Evals", tooltip="Evals and their runs, side by side", id="tune.evals"),
    ]

    class Follow(Message):
        """The metrics of these runs are wanted."""

        def __init__(self, ids: list[str]) -> None:
            self.ids = ids
            super().__init__()

    class Evals(Message):
        """They are asked for."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._jobs: list[Job] = []
        self._runs: dict[str, TuningRun] = {}
        self._adapters: list[Adapter] = []
        self._choice = CurveChoice()
        self._known: list[tuple[str, str]] = []
        self._now = 0.0
        self.default_model = ""

    def compose(self) -> ComposeResult:
        yield RunTable()
        yield Curves(id="curves")

    @property
    def table(self) -> RunTable:
        return self.query_one(RunTable)

    @property
    def current(self) -> RunRow | None:
        tables = list(self.query(RunTable))
        return tables[0].current if tables else None

    # News

    def show_jobs(self, jobs: list[Job], now: float) -> None:
        """What only this key's list tells is fetched where a run came or changed its state."""
        self._jobs, self._now = [job for job in jobs if job.kind == "tune"], now
        known = [(job.id, job.state) for job in self._jobs]
        if known != self._known:
            self._known = known
            self.begin_refetch()
        self._show()

    def begin_refetch(self) -> None:
        self.begin(self._refetch, "refetch")

    async def _refetch(self) -> None:
        """A server without one of them shows less."""
        try:
            self._runs = {run.id: run for run in (await calls.list_runs(self.client)).data}
            self._adapters = (await calls.list_adapters(self.client)).data
        except ClientError as error:
            self.host.notify(str(error), title="Not shown", severity="warning", markup=False)
        self._show()

    def show_run(self, job: JobDetails) -> None:
        self._choice.tell(job)
        self._draw()

    def _show(self) -> None:
        rows = [RunRow(job, self._runs.get(job.id), self._adapter_of(job)) for job in self._jobs]
        self._choice.keep_only([row.id for row in rows])
        self.table.show_runs(rows, self._now, self._choice.colours)
        self._follow_current()
        self.refresh_actions()

    def _adapter_of(self, job: Job) -> Adapter | None:
        """A run that tells checkpoints has several; the one that has the run's name is what came of it."""
        own = [adapter for adapter in self._adapters if adapter.job_id == job.id]
        return next((adapter for adapter in own if adapter.name == job.title), own[0] if len(own) == 1 else None)

    def on_rows_moved(self, message: Rows.Moved) -> None:
        self._follow_current()
        self.refresh_actions()

    def _follow_current(self) -> None:
        if self._choice.point(self.current.id if self.current else None):
            self.post_message(self.Follow(self._choice.followed))
        self._draw()

    def _draw(self) -> None:
        names = {row.id: row.model or row.job.title for row in self.table.rows}
        curves = self.query_one(Curves)
        metric, shown = self._choice.metric, self._choice.curves(names)
        curves.show(metric, shown, f"No {metric or 'figures'} yet: space marks runs whose curves are compared.")

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        row = self.current
        if action in ("inspect", "mark"):
            return None if row is None else True
        if action == "cancel":
            return True if row is not None and row.job.state not in ENDED else None
        if action == "pause":
            return True if row is not None and row.job.can_pause and row.job.state not in ENDED else None
        if action == "promote":
            return True if row is not None and row.adapter is not None and row.adapter.owner else None
        if action in ("chat", "alias"):
            return True if row is not None and row.model else None
        return True

    def action_mark(self) -> None:
        if self.current is None:
            return
        if not self._choice.turn(self.current.id):
            self.host.notify("No more curves can be told apart. space takes a mark away.", severity="warning")
        self._show()
        self.post_message(self.Follow(self._choice.followed))

    def action_metric(self) -> None:
        self._choice.next_metric()
        self._draw()

    def action_evals(self) -> None:
        self.post_message(self.Evals())

    def action_inspect(self) -> None:
        self.table.choose()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        row: RunRow = message.row
        self.app.push_screen(RecordScreen(row.job.title or row.id, facts(row, self._choice.details(row.id))))

    def action_chat(self) -> None:
        if self.current is not None and self.current.model:
            self.host.llmos.chat_with(self.current.model)

    def action_new(self) -> None:
        def answered(order: dict[str, Any] | None) -> None:
            if order:
                self.run_worker(self._start(order))

        self.app.push_screen(RunForm(self.default_model), answered)

    async def _start(self, order: dict[str, Any]) -> None:
        for name in FILES:
            text = order.get(name, "")
            if text and not text.startswith("file-"):
                self.host.notify(f"{Path(text).name} is sent to the server.", markup=False)
                if (id := await self._upload(Path(text))) is None:
                    return
                order[name] = id
        run = await self.host.ask(calls.create_run(self.client, order))
        if run is not None:
            self.host.notify(f"{run.id} waits for its turn.", markup=False)

    async def _upload(self, path: Path) -> str | None:
        try:
            file = await self.host.ask(calls.upload_training_file(self.client, path))
        except OSError as error:
            self.host.notify(f"{path} can't be read: {error}", severity="error", markup=False)
            return None
        return file.id if file is not None else None

    def action_pause(self) -> None:
        if self.current is not None:
            self.run_worker(self._pause(self.current.job))

    async def _pause(self, job: Job) -> None:
        is_paused = job.state == "paused"
        change = job_calls.resume_job if is_paused else job_calls.pause_job
        if await self.host.ask(change(self.client, job.id)) is not None:
            what = "goes on" if is_paused else "pauses at its next step"
            self.host.notify(f"{job.title or job.id} {what}.", markup=False)

    def action_cancel(self) -> None:
        row = self.current
        if row is None:
            return

        def answered(is_sure: bool | None) -> None:
            if is_sure:
                self.run_worker(self.host.ask(job_calls.cancel_job(self.client, row.id)))

        text = f"{row.job.title}\n{row.id}\nIt can't go on afterwards."
        self.app.push_screen(ConfirmScreen("Cancel this run?", text, yes="Cancel it", no="Let it run"), answered)

    def action_promote(self) -> None:
        row = self.current
        if row is None or row.adapter is None:
            return
        adapter = row.adapter

        def answered(is_sure: bool | None) -> None:
            if is_sure:
                self.run_worker(self._promote(adapter))

        if adapter.is_shared:
            question = ConfirmScreen("Take it back?", f"{adapter.name} is its owner's alone again.", yes="Take it back")
        else:
            verdict = row.run.verdict.reason if row.run and row.run.verdict else "It was measured by no gate."
            text = f"{adapter.name} answers everybody who asks for it.\n{verdict}"
            question = ConfirmScreen("Promote it?", text, yes="Promote", no="Not now")
        self.app.push_screen(question, answered)

    def action_alias(self) -> None:
        row = self.current
        if row is None or not row.model:
            return
        model, owner = row.model, None if row.adapter is None else row.adapter.owner

        def answered(alias: str | None) -> None:
            if alias:
                self.run_worker(self._put_alias(alias, model, owner))

        help = f"Whoever asks for that name gets {model} from now on; requests that run end on what they began with."
        self.app.push_screen(AskLine("Which name of applications' is to lead to it?", help=help), answered)

    async def _put_alias(self, alias: str, model: str, owner: str | None) -> None:
        made = await self.host.ask(calls.put_alias(self.client, alias, model, owner))
        if made is not None:
            back = "" if made.previous is None else f" `llmos rollback {made.alias}` goes back."
            self.host.notify(f"{made.model} answers to {made.alias}.{back}", markup=False)

    async def _promote(self, adapter: Adapter) -> None:
        change = calls.share_adapter(self.client, adapter.name, adapter.owner, is_shared=not adapter.is_shared)
        if await self.host.ask(change) is not None:
            whose = "its owner's again" if adapter.is_shared else "everybody's"
            self.host.notify(f"{adapter.name} is {whose}.", markup=False)
            self.begin_refetch()
