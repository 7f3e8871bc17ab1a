"""An answer token by token: how likely each was as its colour, and what else could have stood there."""

from __future__ import annotations

from math import exp

from textual import events
from textual.color import Color, Gradient
from textual.content import Content
from textual.message import Message
from textual.style import Style
from textual.widgets import Static

from llmos_tui.wire.chat import Token

NUM_ALTERNATIVES = 5


class TokenView(Static):
    """A token has the cursor: that under the mouse, or that which keys went to."""

    DEFAULT_CSS = """
    TokenView { height: auto; width: 1fr; }
    """

    class Pointed(Message):
        """The cursor is on another token."""

        def __init__(self, view: TokenView, token: Token) -> None:
            self.view, self.token = view, token
            super().__init__()

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self.tokens: list[Token] = []
        self.cursor: int | None = None

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda theme: self.redraw())

    def show_tokens(self, tokens: list[Token]) -> None:
        """tokens: may have grown since."""
        self.tokens = tokens
        self.redraw()

    def redraw(self) -> None:
        self.update(Content.assemble(*(self._part(place, token) for place, token in enumerate(self.tokens))))

    def _part(self, place: int, token: Token) -> tuple[str, Style]:
        background = self._background(token)
        style = Style(background=background, foreground=readable_on(background)) + Style.from_meta({"token": place})
        if place == self.cursor:
            style += Style(reverse=True, bold=True)
        return shown(token.token), style

    def _background(self, token: Token) -> Color:
        """From the background's own colour for what was certain to that of errors for what was unlikely."""
        theme = self.app.theme_variables
        tint = float(theme["token-tint"].rstrip("%")) / 100
        base, warn, bad = (Color.parse(theme[name]) for name in ("background", "warning", "error"))
        scale = Gradient((0.0, base.blend(bad, tint)), (0.5, base.blend(warn, tint)), (1.0, base))
        return scale.get_color(exp(token.logprob))

    def point(self, place: int | None) -> None:
        """Give a token the cursor; what is out of range takes the nearest."""
        if place is not None:
            place = max(0, min(place, len(self.tokens) - 1))
        if place == self.cursor or not self.tokens:
            return
        self.cursor = place
        self.redraw()
        if place is not None:
            self.post_message(self.Pointed(self, self.tokens[place]))

    def on_mouse_move(self, event: events.MouseMove) -> None:
        place = event.style.meta.get("token")
        if isinstance(place, int):
            self.point(place)


def readable_on(background: Color) -> Color:
    """Black or white."""
    return Color.parse("#000000" if background.brightness > 0.45 else "#ffffff")


def shown(text: str) -> str:
    """What can be seen of a token: line breaks and tabs as signs, with their effect."""
    return text.replace("\n", "↵\n").replace("\t", "→\t")


def named(text: str) -> str:
    """In one line, in quotes, so that spaces can be seen."""
    return "'" + text.replace("\n", "↵").replace("\t", "→") + "'"


def percent(logprob: float) -> str:
    probability = 100 * exp(logprob)
    return f"{probability:.1f} %" if probability >= 0.1 else f"{probability:.0e} %".replace("e-0", "e-")


def described(token: Token) -> str:
    """What stood there, and what else could have, likeliest first."""
    others = sorted(token.top_logprobs, key=lambda other: -other.logprob)
    told = [f"{named(other.token)} {percent(other.logprob)}" for other in others if other.token != token.token]
    return f"{named(token.token)} {percent(token.logprob)}" + ("   or  " + "  ".join(told) if told else "")
