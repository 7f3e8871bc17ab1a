"""Which token of a prompt looks at which, in a layer and a head of one's choice."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from llmos_tui.calls.inside import get_attention
from llmos_tui.screens.models.inside_view import InsideView
from llmos_tui.widgets.field import Field
from llmos_tui.widgets.heat_map import LEVELS, SIGNS, HeatMap
from llmos_tui.widgets.line import Line
from llmos_tui.widgets.token_text import visible
from llmos_tui.wire.inside import Attention
from llmos_tui.wire.models import ModelRow

PROMPT = "The cat sat on the mat because it was tired"
LAYERS = Binding.Group("Layer", compact=True)
HEADS = Binding.Group("Head", compact=True)


class AttentionView(InsideView):
    """Computed by the server, beside what it serves; a new wish replaces one that isn't answered yet."""

    DEFAULT_CSS = """
    AttentionView Field { margin-bottom: 0; }
    """
    BINDING_GROUP_TITLE = "Attention"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "left_square_bracket",
            "turn_layer(-1)",
            "Layer before",
            key_display="[",
            tooltip="The layer before",
            id="attention.layer-before",
            group=LAYERS,
        ),
        Binding(
            "right_square_bracket",
            "turn_layer(1)",
            "Next layer",
            key_display="]",
            tooltip="The next layer",
            id="attention.layer-next",
            group=LAYERS,
        ),
        Binding(
            "comma",
            "turn_head(-1)",
            "Head before",
            key_display=",",
            tooltip="The head before",
            id="attention.head-before",
            group=HEADS,
        ),
        Binding(
            "full_stop",
            "turn_head(1)",
            "Next head",
            key_display=".",
            tooltip="The next head",
            id="attention.head-next",
            group=HEADS,
        ),
        Binding("m", "toggle_mean", "Mean", tooltip="The mean over all heads, or head 0", id="attention.mean"),
        Binding("e", "edit", "Prompt", tooltip="Write another prompt", id="attention.edit"),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._layer = 0
        self._head: int | None = None
        self._shown: Attention | None = None

    def compose(self) -> ComposeResult:
        facts, value, legend = Line(id="attention-facts"), Line(id="attention-value"), Line(id="attention-legend")
        facts.add_class("facts")
        value.add_class("head")
        legend.add_class("facts")
        yield facts
        yield Field(PROMPT, placeholder="a prompt, or messages as JSON", id="attention-prompt")
        yield HeatMap()
        yield value
        yield legend

    @property
    def heat(self) -> HeatMap:
        return self.query_one(HeatMap)

    def look(self, model: ModelRow) -> None:
        if self.model is None or self.model.id != model.id:
            self._layer, self._head, self._shown = 0, None, None
            self.heat.clear()
        self.query_one("#attention-legend", Line).show(_legend())
        self.heat.focus()
        super().look(model)

    async def fetch(self, model: ModelRow) -> None:
        line, text = self.query_one("#attention-facts", Line), self.query_one(Field).value
        layer, head = self._layer, self._head
        line.show(f"{model.id} · {_place(layer, head, self._shown)} · being computed ...")
        attention = await self.host.ask(get_attention(self.client, model.id, text, layer, head))
        if attention is None:
            line.show(f"{model.id} · not shown: what was asked for failed", is_bad=True)
            return
        self._shown = attention
        line.show(f"{model.id} · {_place(layer, head, attention)} · {len(attention.tokens)} tokens")
        self.heat.show(attention)

    def on_heat_map_moved(self, message: HeatMap.Moved) -> None:
        line = self.query_one("#attention-value", Line)
        row, column = self.heat.cursor
        if self._shown is None or self.heat.weight is None:
            line.show("")
            return
        looks, seen = (f"{place} {visible(self._shown.tokens[place])}" for place in (row, column))
        line.show(f"{looks}  takes  {self.heat.weight:.4f}  from  {seen}")

    # Layer and head

    def action_turn_layer(self, by: int) -> None:
        """Round and round, where the number of layers is known."""
        count = self._shown.num_layers if self._shown else None
        self._layer = (self._layer + by) % count if count else max(0, self._layer + by)
        self._again()

    def action_turn_head(self, by: int) -> None:
        count = self._shown.num_heads if self._shown else 0
        if count:
            before = (-1 if by > 0 else 0) if self._head is None else self._head
            self._head = (before + by) % count
            self._again()

    def action_toggle_mean(self) -> None:
        self._head = 0 if self._head is None else None
        self._again()

    def _again(self) -> None:
        if self.model is not None:
            super().look(self.model)

    # The prompt

    def action_edit(self) -> None:
        self.query_one(Field).focus()

    def on_field_left(self, message: Field.Left) -> None:
        self.heat.focus()

    def on_input_submitted(self, message: Field.Submitted) -> None:
        self.heat.focus()
        self._again()


def _place(layer: int, head: int | None, shown: Attention | None) -> str:
    layers = f" of {shown.num_layers}" if shown and shown.num_layers else ""
    heads = f" of {shown.num_heads}" if shown else ""
    return f"layer {layer}{layers} · " + (f"mean of the{heads[3:]} heads" if head is None else f"head {head}{heads}")


def _legend() -> str:
    """What the characters mean."""
    bounds = ["0", *(f"{bound:g}" for bound in LEVELS)]
    return "from  " + "  ".join(f"{bound} {sign}" for bound, sign in zip(bounds, SIGNS, strict=True))
