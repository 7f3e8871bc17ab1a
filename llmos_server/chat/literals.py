"""Special-token literals in what users write: found, marked before rendering, and found again in the rendered text.

A marker is one private-use character that occurs in none of the inputs. START says that the next character is the
user's, END that the last one was. So a literal in the rendered text is the user's if a START stands at its begin, an
END at its end, or any marker inside it; every other literal was written by the template and keeps its meaning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

PRIVATE_USE = range(0xF0000, 0xFFFFE)
_PRIVATE_USE_RE = re.compile(r"[\U000f0000-\U000ffffd]|\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}|\\U000f[0-9a-f]{4}")

Span = tuple[int, int]
"""First character and the one past the last."""


class Markers(NamedTuple):
    start: str
    end: str
    resume: str
    """Where a message that the model continues has ended."""

    @classmethod
    def unused_in(cls, texts: Iterable[str]) -> Markers:
        used = {form for text in texts for form in _PRIVATE_USE_RE.findall(text)}
        free = (chr(code) for code in PRIVATE_USE if used.isdisjoint(_forms(chr(code))))
        return cls(next(free), next(free), next(free))


class SpecialLiterals:
    """The texts of a tokenizer's special tokens."""

    def __init__(self, literals: Iterable[str]) -> None:
        self._literals = {literal for literal in literals if literal}
        self._lengths = sorted({len(literal) for literal in self._literals}, reverse=True)
        self._prefixes = {literal[:n] for literal in self._literals for n in range(1, len(literal))}
        self._suffixes = {literal[-n:] for literal in self._literals for n in range(1, len(literal))}
        heads = "".join(re.escape(head) for head in sorted({literal[0] for literal in self._literals}))
        self._heads = re.compile(f"[{heads}]" if heads else "(?!)")

    def find(self, text: str) -> Iterator[Span]:
        """Leftmost, then longest, without overlap: as the tokenizer matches them."""
        done = 0
        for head in self._heads.finditer(text):
            start = head.start()
            if start < done:
                continue
            literal = next((part for n in self._lengths if (part := text[start : start + n]) in self._literals), "")
            if literal:
                done = start + len(literal)
                yield start, done

    def mark(self, text: str, markers: Markers) -> str:
        """Put markers around each literal, and where the text could become part of one with what comes beside it."""
        spans = list(self.find(text))
        starts = {start for start, _ in spans}
        ends = {end for _, end in spans}
        if self._begins_inside(text):
            starts.add(0)
        if self._ends_inside(text):
            ends.add(len(text))
        pieces, done = [], 0
        for place in sorted(starts | ends):
            pieces += [text[done:place], markers.end * (place in ends), markers.start * (place in starts)]
            done = place
        return "".join([*pieces, text[done:]])

    def _begins_inside(self, text: str) -> bool:
        return any(text[:n] in self._suffixes for n in range(1, self._max_part + 1))

    def _ends_inside(self, text: str) -> bool:
        return any(text[-n:] in self._prefixes for n in range(1, self._max_part + 1))

    @property
    def _max_part(self) -> int:
        return self._lengths[0] - 1 if self._lengths else 0

    def unmark(self, rendered: str, markers: Markers) -> tuple[str, list[Span]]:
        """The text without markers, and the spans in it of the literals that users wrote."""
        text, starts, ends = _take_out(rendered, markers)
        places = starts | ends
        if not places:
            return text, []
        spans = [
            (a, b)
            for a, b in self.find(text)
            if a in starts or b in ends or any(place in places for place in range(a + 1, b))
        ]
        return text, spans


def _forms(marker: str) -> tuple[str, str, str]:
    """As it is, and as it stands in a template's output that holds strings as JSON in ASCII or in Python's notation."""
    return marker, json.dumps(marker)[1:-1], repr(marker)[1:-1]


def _take_out(rendered: str, markers: Markers) -> tuple[str, set[int], set[int]]:
    """The rendered text, and where in it START and END markers stood."""
    forms = {form: mark for mark in markers[:2] for form in _forms(mark)}
    pattern = re.compile("|".join(map(re.escape, forms)))
    pieces: list[str] = []
    starts: set[int] = set()
    ends: set[int] = set()
    done = length = 0
    for match in pattern.finditer(rendered):
        pieces.append(rendered[done : match.start()])
        length += match.start() - done
        done = match.end()
        (starts if forms[match.group()] == markers.start else ends).add(length)
    return "".join([*pieces, rendered[done:]]), starts, ends
