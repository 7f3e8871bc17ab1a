"""The structure of a model."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult

from llmos_tui import words
from llmos_tui.calls.inside import get_structure
from llmos_tui.screens.models.inside_view import InsideView
from llmos_tui.widgets.line import Line
from llmos_tui.widgets.structure_tree import StructureTree
from llmos_tui.wire.inside import Structure
from llmos_tui.wire.models import ModelRow


class StructureView(InsideView):
    """A line of facts, and the tree."""

    BINDING_GROUP_TITLE = "Structure"

    def compose(self) -> ComposeResult:
        facts, head = Line(id="structure-facts"), Line(id="structure-head")
        facts.add_class("facts")
        head.add_class("head")
        yield facts
        yield head
        yield StructureTree()

    async def fetch(self, model: ModelRow) -> None:
        tree = self.query_one(StructureTree)
        tree.focus()
        structure = await self.host.ask(get_structure(self.client, model.id))
        if structure is not None:
            self.query_one("#structure-facts", Line).show(facts(structure))
            tree.show(structure)

    def on_resize(self, event: events.Resize) -> None:
        tree = self.query_one(StructureTree)
        self.call_after_refresh(lambda: self.query_one("#structure-head", Line).show(tree.head()))


def facts(structure: Structure) -> str:
    """One line; what the server knows of the config comes last."""
    config = [f"{name.removeprefix('num_').replace('_', ' ')} {value}" for name, value in structure.config.items()]
    sums = f"{words.count(structure.parameters)} parameters, {words.size(structure.bytes)}"
    return " · ".join([structure.model, structure.architecture or "unknown architecture", sums, *config])
