"""Runs of an eval side by side: means with their intervals, and what is different from the first one."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from llmos_tui.wire.evals import ComparedCriterion, EvalComparison, Interval


def mean_in_words(one: Interval) -> str:
    return f"{one.mean:.3f} [{one.low:.3f}, {one.high:.3f}]"


def difference_in_words(one: Interval) -> str:
    """With a word where the interval leaves no doubt."""
    told = "better" if one.low > 0 else "worse" if one.high < 0 else "no clear difference"
    return f"{one.mean:+.3f} [{one.low:+.3f}, {one.high:+.3f}] {told}"


class Comparison(VerticalScroll, can_focus=False):
    """A column for each run, in the order of their marks."""

    COMPONENT_CLASSES = {"comparison--better", "comparison--worse"}
    DEFAULT_CSS = """
    Comparison { height: 1fr; min-height: 4; border-top: solid $secondary; border-title-style: bold; padding: 0 1; }
    Comparison Static { height: auto; }
    Comparison .comparison--better { color: $success; }
    Comparison .comparison--worse { color: $error; }
    """

    def __init__(self) -> None:
        super().__init__(id="comparison")
        self._shown: EvalComparison | None = None

    def compose(self) -> ComposeResult:
        yield Static("", markup=False)

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda theme: self._draw())

    def tell(self, text: str) -> None:
        """In place of a comparison."""
        self._shown = None
        self.border_title = "Side by side"
        self.query_one(Static).update(Text(text))

    def show(self, comparison: EvalComparison) -> None:
        self._shown = comparison
        left_out = f", {comparison.num_left_out} left out" if comparison.num_left_out else ""
        self.border_title = f"Side by side over {comparison.num_items} items{left_out}, intervals of 95 %"
        self._draw()

    def _draw(self) -> None:
        if self._shown is None:
            return
        table = Table.grid(padding=(0, 3))
        table.add_column(style="bold")
        heads = [Text(f"{number} {run.model or run.id}") for number, run in enumerate(self._shown.runs, 1)]
        table.add_row(Text("score"), *heads, style="bold")
        for one in self._shown.criteria:
            table.add_row(Text(one.testing_criteria), *(Text(mean_in_words(mean)) for mean in one.means))
            table.add_row(Text(""), Text("minus 1:"), *self._differences(one))
        self.query_one(Static).update(table)

    def _differences(self, one: ComparedCriterion) -> list[Text]:
        found = []
        for difference in one.differences:
            kind = "better" if difference.low > 0 else "worse" if difference.high < 0 else ""
            style = self.get_component_rich_style(f"comparison--{kind}", partial=True) if kind else ""
            found.append(Text(difference_in_words(difference), style))
        return found
