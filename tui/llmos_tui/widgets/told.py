"""Words on as many lines as they need: not there while there are none, and drawn again only when they change."""

from __future__ import annotations

from textual.widgets import Static


class Told(Static):
    """`say(text)` as often as one likes."""

    DEFAULT_CSS = """
    Told { display: none; height: auto; }
    Told.-said { display: block; }
    """

    def __init__(self, text: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("", id=id, classes=classes, markup=False)
        self._text = ""
        self.say(text)

    @property
    def text(self) -> str:
        return self._text

    def say(self, text: str) -> None:
        if text != self._text:
            self._text = text
            self.set_class(bool(text), "-said")
            self.update(text)
