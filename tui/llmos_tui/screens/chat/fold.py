"""What isn't the answer itself, folded: reasoning, and calls of tools with their results."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from textual.widgets import Collapsible, Static

from llmos_tui.screens.chat.thread import Call

TITLE_CHARACTERS = 60


class Fold(Collapsible):
    """Not there while it has no text."""

    DEFAULT_CSS = """
    Fold { background: transparent; border-top: none; padding: 0; margin: 0; }
    Fold CollapsibleTitle { padding: 0; color: $text-muted; }
    Fold Contents { padding: 0 0 0 2; }
    Fold Static { color: $text-muted; }
    """

    def __init__(self, title: str) -> None:
        self._body = Static("", markup=False)
        self._label = title
        self._text = ""
        super().__init__(self._body, title=title)
        self.display = False

    def show(self, text: str, *, title: str = "", is_growing: bool = False) -> None:
        """is_growing: more of it is coming, and nothing else yet."""
        self.display = bool(text)
        told = title or f"{self._label}, {len(text.split())} words"
        self.title = f"{told} …" if is_growing else told
        if text != self._text:
            self._text = text
            self._body.update(text)


def call_folds(calls: Sequence[Call]) -> Iterator[tuple[str, str]]:
    """(title, text) of each call, and of its result where there is one."""
    for call in calls:
        yield f"Calls {call.name}({_short(call.arguments)})", _pretty(call.arguments) or "(no arguments)"
        if call.output is not None:
            yield f"Result of {call.name}: {_short(call.output)}", _pretty(call.output) or "(nothing)"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"


def _pretty(text: str) -> str:
    """JSON over several lines; anything else as it is."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict | list) else text
