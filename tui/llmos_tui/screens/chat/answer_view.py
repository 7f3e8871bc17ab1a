"""An answer on the screen, while it is written and afterwards."""

from __future__ import annotations

from typing import ClassVar

from markdown_it import MarkdownIt
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Collapsible, Markdown

from llmos_tui.screens.chat.entry_view import EntryView
from llmos_tui.screens.chat.fold import Fold, call_folds
from llmos_tui.screens.chat.notes import head_of, notes_of
from llmos_tui.screens.chat.thread import Answer
from llmos_tui.screens.chat.token_view import TokenView
from llmos_tui.widgets.told import Told


def create_parser() -> MarkdownIt:
    """HTML in an answer is text: else it would vanish."""
    return MarkdownIt("gfm-like", {"html": False})


class AnswerView(EntryView):
    """`paint()` draws what has come since the last time: text is appended, so that nothing flickers."""

    DEFAULT_CSS = """
    AnswerView Markdown { padding: 0; margin: 0; }
    AnswerView MarkdownBlock:last-child { margin-bottom: 0; }
    AnswerView .answer--notes { color: $text-muted; }
    AnswerView .answer--error { color: $error; }
    AnswerView #calls { height: auto; }
    AnswerView TokenView { display: none; }
    AnswerView.-tokens TokenView { display: block; }
    AnswerView.-tokens Markdown { display: none; }
    """
    BINDING_GROUP_TITLE = "Answer"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "plus,equals_sign", "rate(1)", "Good", key_display="+", tooltip="Rate it; again: no rating", id="chat.good"
        ),
        Binding("minus", "rate(-1)", "Bad", key_display="-", tooltip="Rate it; again: no rating", id="chat.bad"),
        Binding("c", "correct", "Correct", tooltip="Write what it should have said, for training", id="chat.correct"),
        Binding("enter,f", "fold", "Fold", key_display="f", tooltip="Show or hide reasoning and calls", id="chat.fold"),
    ]

    class Rated(Message):
        """rating: -1 or 1."""

        def __init__(self, view: AnswerView, rating: int) -> None:
            self.view, self.rating = view, rating
            super().__init__()

    class Corrected(Message):
        """The user wants to write what it should have said."""

        def __init__(self, view: AnswerView) -> None:
            self.view = view
            super().__init__()

    def __init__(self, answer: Answer, *, shows_tokens: bool = False) -> None:
        super().__init__(answer)
        self.answer = answer
        self._shows_tokens = shows_tokens
        self._num_shown = 0
        """Characters of the text that are drawn."""
        self._num_tokens_shown = -1
        self._head = Told(classes="entry--head")
        self._reasoning = Fold("Reasoning")
        self._markdown = Markdown(parser_factory=create_parser, open_links=False)
        self._tokens = TokenView()
        self._calls = Vertical(id="calls")
        self._error = Told(classes="answer--error")
        self._notes = Told(classes="answer--notes")

    def compose(self) -> ComposeResult:
        yield self._head
        yield self._reasoning
        yield self._markdown
        yield self._tokens
        yield self._calls
        yield self._error
        yield self._notes

    async def on_mount(self) -> None:
        await self.paint()

    async def paint(self, now: float | None = None) -> None:
        """now: of the answer's clock, while it is waited for. Of one that was taken away nothing is drawn."""
        if not self.is_attached:
            return
        answer = self.answer
        self._head.say(head_of(answer, now))
        self._reasoning.show(answer.reasoning, is_growing=not answer.text and not answer.is_over)
        await self._paint_text()
        self._paint_tokens()
        await self._paint_calls()
        self._error.say(f"{answer.error} {answer.remedy}".strip())
        self._notes.say(notes_of(answer))

    async def _paint_text(self) -> None:
        new = self.answer.text[self._num_shown :]
        if new:
            self._num_shown += len(new)
            await self._markdown.append(new)

    def _paint_tokens(self) -> None:
        has_tokens = self._shows_tokens and bool(self.answer.tokens)
        self.set_class(has_tokens, "-tokens")
        if has_tokens and len(self.answer.tokens) != self._num_tokens_shown:
            self._num_tokens_shown = len(self.answer.tokens)
            self._tokens.show_tokens(self.answer.tokens)

    async def _paint_calls(self) -> None:
        calls = self.answer.calls
        folds = list(self._calls.query(Fold))
        for number, (title, text) in enumerate(call_folds(calls)):
            if number >= len(folds):
                folds.append(Fold(title))
                await self._calls.mount(folds[number])
            folds[number].show(text, title=title)

    async def show_tokens(self, is_on: bool) -> None:
        self._shows_tokens = is_on
        await self.paint()

    # What the user does

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("rate", "correct"):
            return self.answer.is_over and bool(self.answer.text)
        if action == "fold":
            return bool(self.answer.reasoning or self.answer.calls)
        return True

    def action_rate(self, rating: int) -> None:
        self.post_message(self.Rated(self, rating))

    def action_correct(self) -> None:
        self.post_message(self.Corrected(self))

    def action_fold(self) -> None:
        folds = [fold for fold in self.query(Collapsible) if fold.display]
        is_any_open = any(not fold.collapsed for fold in folds)
        for fold in folds:
            fold.collapsed = is_any_open

    def action_move_aside(self, direction: int) -> None:
        if self.has_class("-tokens"):
            cursor = self._tokens.cursor
            self._tokens.point(0 if cursor is None else cursor + direction)
        else:
            super().action_move_aside(direction)
