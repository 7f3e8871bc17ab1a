"""What the three views into a model share: a model, a line of facts, esc back to the list."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import WorkType

from llmos_tui.screens.view import View
from llmos_tui.wire.models import ModelRow


class InsideView(View):
    """`look(model)` shows another one; derived ones fetch what they show in `fetch()`."""

    DEFAULT_CSS = """
    InsideView .facts { background: $surface; color: $text-muted; }
    InsideView .head { text-style: bold; color: $text-muted; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", key_display="esc", tooltip="To the list of models", id="inside.back"),
    ]

    class Back(Message):
        """To the list."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.model: ModelRow | None = None

    def look(self, model: ModelRow) -> None:
        """Called when it has become visible."""
        self.model = model
        work: WorkType[None] = partial(self.fetch, model)
        self.run_worker(work, exclusive=True, group="fetch")

    async def fetch(self, model: ModelRow) -> None:
        """What is to be shown of it."""

    def action_back(self) -> None:
        self.post_message(self.Back())
