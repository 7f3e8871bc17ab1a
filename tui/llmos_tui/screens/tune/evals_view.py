"""Evals and their runs, side by side."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message

from llmos_tui.calls import evals as calls
from llmos_tui.client import ClientError
from llmos_tui.screens.record import RecordScreen
from llmos_tui.screens.tune.model_dialog import ModelDialog
from llmos_tui.screens.view import View
from llmos_tui.widgets.comparison import Comparison
from llmos_tui.widgets.eval_tables import EvalRunTable, EvalTable
from llmos_tui.widgets.rows import Rows
from llmos_tui.wire.evals import Eval, EvalRun

MAX_COMPARED = 8
LOOK_SECONDS = 2.0
"""Between two looks at runs that aren't done."""
ENDED = ("completed", "failed", "canceled")


class EvalsView(View):
    """At the top the evals, then the runs of the one with the cursor, then those that are marked, compared."""

    DEFAULT_CSS = """
    EvalsView EvalTable { height: 1fr; }
    EvalsView EvalRunTable { height: 1fr; border-top: solid $secondary; }
    """
    BINDING_GROUP_TITLE = "Evals"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Runs", key_display="esc", tooltip="Back to tuning runs", id="evals.back"),
        Binding("tab", "other_list", "Other list", tooltip="From evals to runs, and back", id="evals.other"),
        Binding("enter", "inspect", "Details", tooltip="All about it", id="evals.inspect"),
        Binding("space", "mark", "Compare", tooltip="Side by side with others; the first is the base", id="evals.mark"),
        Binding("n", "again", "Other model", tooltip="The same items for another model", id="evals.again"),
        Binding("u", "look_again", "Update", tooltip="Fetch them anew", id="evals.update"),
    ]

    class Back(Message):
        """To tuning runs."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._eval: Eval | None = None
        self._runs: list[EvalRun] = []
        self._marks: list[str] = []
        self._compared: list[str] = []
        self._is_shown = False

    def compose(self) -> ComposeResult:
        yield EvalTable()
        yield EvalRunTable()
        yield Comparison()

    def on_mount(self) -> None:
        self.query_one(Comparison).tell(
            "space marks runs: two or more are compared over the items that all have graded."
        )
        self.set_interval(LOOK_SECONDS, self._look_at_living)

    @property
    def evals(self) -> EvalTable:
        return self.query_one(EvalTable)

    @property
    def runs(self) -> EvalRunTable:
        return self.query_one(EvalRunTable)

    # News

    def look(self) -> None:
        """Called when it has become visible."""
        self._is_shown = True
        self.begin(self._fetch, "evals")

    def hide(self) -> None:
        self._is_shown = False

    async def _fetch(self) -> None:
        found = await self.host.ask(calls.list_evals(self.client))
        if found is not None:
            self.evals.show(found.data)
            await self._fetch_runs()

    async def _fetch_runs(self) -> None:
        wanted = self.evals.current
        if wanted is None:
            return
        found = await self.host.ask(calls.list_eval_runs(self.client, wanted))
        if found is None or self.evals.current is not wanted:
            return
        if self._eval is None or self._eval.id != wanted.id:
            self._marks = []
        self._eval, self._runs = wanted, found.data
        self._show()
        await self._compare()

    def _look_at_living(self) -> None:
        if self._is_shown and self.host.is_shown and any(run.status not in ENDED for run in self._runs):
            self.begin(self._fetch_runs, "runs")

    def _show(self) -> None:
        self.runs.show_runs(self._runs, self._marks, "It has no runs.")
        self.refresh_actions()

    async def _compare(self) -> None:
        done = [run.id for run in self._runs if run.status == "completed"]
        wanted = [id for id in self._marks if id in done]
        if self._eval is None or wanted == self._compared:
            return
        self._compared = wanted
        panel = self.query_one(Comparison)
        if len(wanted) < 2:
            panel.tell("space marks runs: two or more are compared over the items that all have graded.")
            return
        try:
            panel.show(await calls.compare_eval_runs(self.client, self._eval.id, wanted))
        except ClientError as error:
            panel.tell(str(error))

    def on_rows_moved(self, message: Rows.Moved) -> None:
        if message.rows is self.evals:
            self.begin(self._fetch_runs, "runs")
        self.refresh_actions()

    # Keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if not self.is_mounted or not list(self.query(EvalRunTable)):
            return None
        run = self.runs.current
        if action == "mark":
            return True if run is not None and run.status == "completed" else None
        if action == "again":
            return True if run is not None and run.model else None
        if action == "inspect":
            return True if self.evals.current is not None else None
        return True

    def action_back(self) -> None:
        self.post_message(self.Back())

    def action_other_list(self) -> None:
        (self.runs if self.evals.has_focus else self.evals).focus()

    def action_look_again(self) -> None:
        self.look()

    def action_inspect(self) -> None:
        (self.runs if self.runs.has_focus else self.evals).choose()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        row: Eval | EvalRun = message.row
        facts = {name: getattr(row, name) for name in row.__struct_fields__}
        self.app.push_screen(RecordScreen(row.name or row.id, facts.items()))

    def action_mark(self) -> None:
        run = self.runs.current
        if run is None:
            return
        if run.id in self._marks:
            self._marks.remove(run.id)
        elif len(self._marks) < MAX_COMPARED:
            self._marks.append(run.id)
        self._show()
        self.begin(self._compare, "compare")

    def action_again(self) -> None:
        run = self.runs.current
        if run is None:
            return

        def answered(model: str | None) -> None:
            if model:
                self.run_worker(self._run_again(run, model))

        self.app.push_screen(ModelDialog(run.model), answered)

    async def _run_again(self, run: EvalRun, model: str) -> None:
        source: dict[str, Any] = {**run.data_source, "model": model}
        made = await self.host.ask(calls.create_eval_run(self.client, run.eval_id, model, source))
        if made is not None:
            self.host.notify(f"{model} is being measured.", markup=False)
            await self._fetch_runs()
