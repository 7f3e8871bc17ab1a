"""Models on disk and in memory, and what is inside one."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from textual.app import ComposeResult
from textual.widgets import ContentSwitcher

from llmos_tui.calls.live import follow_overview
from llmos_tui.feeds import Feed
from llmos_tui.messages import OverviewArrived
from llmos_tui.screens.base import LLMOSScreen
from llmos_tui.screens.models.attention_view import AttentionView
from llmos_tui.screens.models.inside_view import InsideView
from llmos_tui.screens.models.list_view import ModelListView
from llmos_tui.screens.models.structure_view import StructureView
from llmos_tui.screens.models.template_view import TemplateView

VIEWS: dict[str, type[InsideView]] = {
    "structure": StructureView,
    "attention": AttentionView,
    "template": TemplateView,
}


class ModelsScreen(LLMOSScreen):
    """The list; from there into a model, and back by esc."""

    DEFAULT_CSS = """
    ModelsScreen ContentSwitcher { height: 1fr; }
    """
    BINDING_GROUP_TITLE = "Models"

    def compose_body(self) -> ComposeResult:
        with ContentSwitcher(initial="list"):
            yield ModelListView(id="list")
            yield StructureView(id="structure")
            yield AttentionView(id="attention")
            yield TemplateView(id="template-view")

    def feeds(self) -> Iterable[Feed]:
        yield Feed(partial(follow_overview, interval=self.llmos.interval), OverviewArrived)

    def came_online(self) -> None:
        self.query_one(ModelListView).begin_refetch()

    def on_overview_arrived(self, message: OverviewArrived) -> None:
        self.query_one(ModelListView).show_live(message.overview)

    def on_model_list_view_look(self, message: ModelListView.Look) -> None:
        view = self.query_one(VIEWS[message.what])
        self.query_one(ContentSwitcher).current = view.id
        view.look(message.model)

    def on_inside_view_back(self, message: InsideView.Back) -> None:
        self.query_one(ContentSwitcher).current = "list"
        self.query_one(ModelListView).table.focus()
