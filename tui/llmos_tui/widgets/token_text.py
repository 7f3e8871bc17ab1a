"""Tokens as they are cut, each apart from its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.style import Style
from rich.text import Text

from llmos_tui.words import one_line

SIGNS = str.maketrans({"\n": "⏎", "\t": "⇥", "\r": "␍", " ": "␣"})


class Token(Protocol):
    """What has a text, and may be special."""

    @property
    def text(self) -> str: ...
    @property
    def is_special(self) -> bool: ...


def visible(text: str) -> str:
    """Spaces and ends of lines as signs; nothing is a sign of its own, so that no token has no width."""
    return one_line(text.translate(SIGNS)) or "∅"


def token_text(tokens: Sequence[Token], even: Style, odd: Style, special: Style) -> Text:
    """Neighbours have different styles; a line ends where a token ends one, and special tokens stand out."""
    text = Text(end="")
    for number, token in enumerate(tokens):
        style = special if token.is_special else odd if number % 2 else even
        ends = "\n" * token.text.count("\n")
        text.append(visible(token.text) + ends, style)
    return text
