"""All that was said in one chat, drawn below each other; it stays at its end unless somebody scrolls up."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.css.query import NoMatches

from llmos_tui.screens.chat.answer_view import AnswerView
from llmos_tui.screens.chat.entry_view import EntryView
from llmos_tui.screens.chat.question_view import QuestionView
from llmos_tui.screens.chat.thread import Entry, Question
from llmos_tui.widgets.told import Told

SCROLLED_LINES = 3
HINT = "Write below; enter sends. A letter of the footer is a key with alt, and after esc without it."


class Transcript(VerticalScroll, can_focus=False):
    """Its entries take the focus, so that they can be acted on."""

    DEFAULT_CSS = """
    Transcript { height: 1fr; align-vertical: bottom; scrollbar-size-vertical: 1; }
    Transcript #hint { color: $text-muted; padding: 0 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.shows_tokens = False
        self._hint = Told(HINT, id="hint")

    def compose(self) -> ComposeResult:
        yield self._hint

    def on_mount(self) -> None:
        self.anchor()

    async def show(self, entries: Sequence[Entry]) -> None:
        """Another chat."""
        with self.app.batch_update():
            await self.query(EntryView).remove()
            await self.add(*entries)
        self.anchor()

    async def add(self, *entries: Entry) -> None:
        self._hint.say("" if entries or self.query(EntryView) else HINT)
        await self.mount_all([self._view(entry) for entry in entries])

    def _view(self, entry: Entry) -> EntryView:
        if isinstance(entry, Question):
            return QuestionView(entry)
        return AnswerView(entry, shows_tokens=self.shows_tokens)

    async def keep(self, entries: Sequence[Entry]) -> None:
        """Take the others away."""
        kept = {id(entry) for entry in entries}
        for view in self.query(EntryView):
            if id(view.entry) not in kept:
                await view.remove()
        self._hint.say("" if entries else HINT)

    def view_of(self, entry: Entry) -> EntryView | None:
        return next((view for view in self.query(EntryView) if view.entry is entry), None)

    async def show_tokens(self, is_on: bool) -> None:
        self.shows_tokens = is_on
        for view in self.query(AnswerView):
            await view.show_tokens(is_on)

    # Moving

    def enter(self) -> bool:
        """Give the last entry the focus; false where there is none."""
        try:
            self.query(EntryView).last().focus(scroll_visible=False)
        except NoMatches:
            return False
        self.anchor()
        return True

    def on_entry_view_moving(self, message: EntryView.Moving) -> None:
        """What is longer than the screen is scrolled through before the next one is gone to."""
        message.stop()
        views = list(self.query(EntryView))
        view, direction = message.view, message.direction
        top, bottom = view.virtual_region.y, view.virtual_region.bottom
        seen_to = self.scroll_offset.y + self.size.height
        if (direction < 0 and top < self.scroll_offset.y) or (direction > 0 and bottom > seen_to + 1):
            self.scroll_relative(y=direction * SCROLLED_LINES, animate=False)
            return
        place = views.index(view) + direction
        if 0 <= place < len(views):
            views[place].focus(scroll_visible=False)
            self._show_edge(views[place], direction)

    def _show_edge(self, view: EntryView, direction: int) -> None:
        """The side of it that one comes from."""
        top, bottom = view.virtual_region.y, view.virtual_region.bottom
        if direction < 0 and top < self.scroll_offset.y:
            self.scroll_to(y=max(top, bottom - self.size.height), animate=False)
        elif direction > 0 and bottom > self.scroll_offset.y + self.size.height:
            self.scroll_to(y=min(top, bottom - self.size.height), animate=False)
