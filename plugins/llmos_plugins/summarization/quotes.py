"""Quotations in a summary, checked against the text that it is of."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmos_plugins.text.parts import split_sentences
from llmos_plugins.text.words import count_words

QUOTE = re.compile(
    r"“([^“”\n]{1,2000})”|„([^„“”\n]{1,2000})[“”]|«([^«»\n]{1,2000})»|»([^«»\n]{1,2000})«|「([^「」\n]{1,2000})」|『([^『』\n]{1,2000})』"
    r'|(?<!\w)"([^"\n]{1,2000})"'
)
LEFT_OUT = re.compile(r"\s*(?:\[[^\]]{0,100}\]|\(\.\.\.\)|\.\.\.|…)\s*")
ALIKE = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "\u00a0": " "})
EDGES = " .,;:!?-'\""


class Source:
    """A text in which quotations are looked for."""

    def __init__(self, text: str) -> None:
        self._text = _plain(text)

    def has(self, quote: str) -> bool:
        """Word for word, but for case, white space, the kind of quotation marks and dashes, and the point or comma
        at its end; with "..." or "[...]", its pieces in order."""
        place = 0
        for piece in LEFT_OUT.split(quote):
            wanted = _plain(piece).strip(EDGES)
            found = self._text.find(wanted, place) if wanted else place
            if found < 0:
                return False
            place = found + len(wanted)
        return True


def find_quotes(text: str) -> list[str]:
    """Without their marks, in order; those without a word are left out."""
    found = (next(group for group in match.groups() if group) for match in QUOTE.finditer(text))
    return [quote for quote in found if count_words(quote)]


def without_sentences(text: str, quotes: Sequence[str]) -> str:
    """Without the sentences that hold one of the quotations; where nothing would be left, without the marks alone."""
    kept = [sentence for sentence in split_sentences(text) if not any(q in quotes for q in find_quotes(sentence))]
    rest = "".join(kept).strip()
    return rest if count_words(rest) and not _holds(rest, quotes) else without_marks(text, quotes)


def without_marks(text: str, quotes: Sequence[str]) -> str:
    def plain(match: re.Match[str]) -> str:
        quote = next(group for group in match.groups() if group)
        return quote if quote in quotes else match[0]

    return QUOTE.sub(plain, text)


def _holds(text: str, quotes: Sequence[str]) -> bool:
    """A quotation of several sentences is in none of them alone."""
    return any(quote in quotes for quote in find_quotes(text))


def _plain(text: str) -> str:
    return " ".join(text.translate(ALIKE).casefold().split())
