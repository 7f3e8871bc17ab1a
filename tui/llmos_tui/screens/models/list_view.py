"""All models, and what can be done with one: load, unload, pin, pull, remove, look inside."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import ClassVar

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import WorkType

from llmos_tui import words
from llmos_tui.calls import models as calls
from llmos_tui.client import ClientError, Refused
from llmos_tui.screens.dialog import ConfirmScreen
from llmos_tui.screens.models.pull_dialog import PullDialog
from llmos_tui.screens.view import View
from llmos_tui.widgets.line import Line
from llmos_tui.widgets.model_table import ModelTable
from llmos_tui.widgets.pull_panel import PullPanel
from llmos_tui.widgets.rows import Rows
from llmos_tui.widgets.usage_bar import UsageBar
from llmos_tui.wire.live import Overview
from llmos_tui.wire.models import ModelRow, ModelRows

IN_MEMORY = ("ready", "loading", "restarting")


class ModelListView(View):
    """What takes long goes on while another screen is shown."""

    DEFAULT_CSS = """
    ModelListView #memory { background: $surface; }
    ModelListView #model-facts { background: $panel; color: $text-muted; }
    """
    BINDING_GROUP_TITLE = "Models"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "look('structure')", "Inside", tooltip="Its modules and tensors", id="models.structure"),
        Binding("a", "look('attention')", "Attention", tooltip="Which token looks at which", id="models.attention"),
        Binding("c", "look('template')", "Template", tooltip="Its chat template, and a preview", id="models.template"),
        Binding("l", "load", "Load", tooltip="Into memory", id="models.load"),
        Binding("u", "unload", "Unload", tooltip="Out of memory, when nobody uses it", id="models.unload"),
        Binding("i", "pin", "Pin/unpin", tooltip="A pinned model isn't evicted", id="models.pin"),
        Binding("p", "pull", "Pull", tooltip="Fetch a model", id="models.pull"),
        Binding("x,delete", "remove", "Remove", key_display="x", tooltip="Off the disk", id="models.remove"),
    ]

    class Look(Message):
        """Something inside a model shall be shown: "structure", "attention", "template"."""

        def __init__(self, what: str, model: ModelRow) -> None:
            self.what, self.model = what, model
            super().__init__()

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._models: ModelRows | None = None
        self._live: Overview | None = None

    def compose(self) -> ComposeResult:
        yield UsageBar("memory", id="memory")
        yield ModelTable()
        yield Line(id="model-facts")
        yield PullPanel()

    @property
    def table(self) -> ModelTable:
        return self.query_one(ModelTable)

    @property
    def current(self) -> ModelRow | None:
        tables = list(self.query(ModelTable))
        return tables[0].current if tables else None

    def show_live(self, overview: Overview) -> None:
        """What is new each second; the list itself is fetched only where models came, went or changed."""
        before, self._live = self._live, overview
        if before is not None and kinds(before) != kinds(overview):
            self.begin_refetch()
        self._show()

    def _show(self) -> None:
        models, live = self._models, self._live
        if models is None:
            return
        used, budget = (live or models).used_bytes, (live or models).budget_bytes
        share = used / budget if budget else 0.0
        self.query_one(UsageBar).show(share, f"{words.size(used)} of {words.size(budget)} for models")
        self.table.show(merge(models.data, live))
        self._show_facts()

    def on_rows_moved(self, message: Rows.Moved) -> None:
        self._show_facts()

    def _show_facts(self) -> None:
        model = self.current
        line = self.query_one("#model-facts", Line)
        if model is None:
            line.show("")
        elif model.status.failure:
            line.show(f"{model.id}: {model.status.failure}", is_bad=True)
        else:
            line.show(facts(model))
        self.refresh_actions()

    # What can be done

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """None: shown as one that can't be done now."""
        model = self.current
        if action in ("look", "remove", "load", "pin"):
            return None if model is None else True
        if action == "unload":
            return True if model is not None and model.state in IN_MEMORY else None
        return True

    def action_look(self, what: str) -> None:
        if self.current is not None:
            self.post_message(self.Look(what, self.current))

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        message.stop()
        self.action_look("structure")

    def action_load(self) -> None:
        if (model := self.current) is not None:
            self.notify(f"{model.id} is being loaded.", markup=False)
            self._do(calls.load_model(self.client, model.id), f"{model.id} is loaded.")

    def action_unload(self) -> None:
        if (model := self.current) is not None:
            self._do(calls.unload_model(self.client, model.id), f"{model.id} is out of memory.")

    def action_pin(self) -> None:
        if (model := self.current) is not None:
            call = calls.unpin_model if model.is_pinned else calls.pin_model
            told = "may be evicted" if model.is_pinned else "stays in memory once it is loaded"
            self._do(call(self.client, model.id), f"{model.id} {told}.")

    def action_remove(self) -> None:
        if (model := self.current) is None:
            return
        text = (
            f"{words.size(model.size_bytes)} on the server's disk. It can be pulled again. What runs on it is finished."
        )

        def answered(is_sure: bool | None) -> None:
            if is_sure:
                self._do(calls.remove_model(self.client, model.id), f"{model.id} was removed.")

        question = ConfirmScreen(f"Remove {model.id} from the disk?", text, yes="Remove", no="Keep it")
        self.app.push_screen(question, answered)

    def _do(self, call: Awaitable[object], told: str) -> None:
        async def do() -> None:
            if await self.host.ask(call) is not None:
                self.notify(told, markup=False)
                await self.refetch()

        self.run_worker(do())

    def begin_refetch(self) -> None:
        work: WorkType[None] = self.refetch
        self.run_worker(work)

    async def refetch(self) -> None:
        """When the screen is shown, and after something was done or has changed."""
        models = await self.host.ask(calls.list_models(self.client))
        if models is not None:
            self._models = models
            self._show()

    # Pulls

    def action_pull(self) -> None:
        self.app.push_screen(PullDialog(), self._pull)

    def _pull(self, name: str | None) -> None:
        if not name:
            return
        panel = self.query_one(PullPanel)
        if panel.find(name) is None:
            panel.begin(name)
            self.run_worker(self._follow_pull(name), group="pulls")

    async def _follow_pull(self, name: str) -> None:
        panel = self.query_one(PullPanel)
        pull = panel.find(name)
        assert pull is not None
        try:
            async for event in calls.pull_model(self.client, name):
                pull.take(event)
                panel.refresh()
        except ClientError as error:
            known = "" if isinstance(error, Refused) else " The pull may go on: pull again to see it."
            pull.finish("failed", f"{error}{known}")
            self.notify(pull.text, title=f"{name} was not pulled", severity="error", timeout=10, markup=False)
            self.host.llmos.watch_server.doubt()
        else:
            self.notify(f"{name} {pull.text}", markup=False)
            await self.refetch()
        panel.refresh()


def kinds(overview: Overview) -> list[tuple[object, ...]]:
    """What of the list has to be fetched anew when it changes."""
    return [(model.name, model.state, model.is_pinned, model.is_default, model.failure) for model in overview.models]


def merge(rows: list[ModelRow], live: Overview | None) -> list[ModelRow]:
    """With what is newer: memory, and who uses it."""
    news = {model.name: model for model in live.models} if live else {}
    merged = []
    for row in rows:
        if (new := news.get(row.id)) is not None:
            count = new.num_running + new.num_waiting
            status = msgspec.structs.replace(
                row.status, num_bytes=new.num_bytes or row.status.num_bytes, num_open_requests=count
            )
            row = msgspec.structs.replace(row, status=status)
        merged.append(row)
    return merged


def facts(model: ModelRow) -> str:
    """One line, the most important first."""
    parts = [
        "the default model" if model.is_default else "",
        {"settings": "pinned by the settings", "administrator": "pinned"}.get(model.pinned_by or "", ""),
        f"also {', '.join(model.aliases)}" if model.aliases else "",
        f"can {', '.join(model.capabilities)}" if model.capabilities else "",
        f"{model.status.num_open_requests} requests use it" if model.status.num_open_requests else "",
        f"process {model.status.pid}" if model.status.pid else "",
    ]
    return f"{model.id}: " + " · ".join(part for part in parts if part)
