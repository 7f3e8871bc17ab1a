"""A masked document cut into what is translated, line by line or sentence by sentence, and what stands between."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from typing import NamedTuple

from llmos_plugins.text.parts import Count, split_to_fit
from llmos_plugins.translation.kept import MARK

PREFIX = re.compile(
    r"[^\S\n]*(?:>[^\S\n]?)*(?:#{1,6}[^\S\n]+|[-*+•][^\S\n]+(?:\[[ xX]\][^\S\n]+)?|\d{1,9}[.)][^\S\n]+)?"
)
CELLS = re.compile(r"(\s*(?<!\\)\|\s*)")
WRAP = 50
"""Lines at least this long that end within a sentence are taken for wrapped ones."""
SENTENCE_ENDS = (".", "!", "?", ":", ";", "…", "。", "！", "？", "：", "  ", "\\")


class Segment(NamedTuple):
    text: str
    is_text: bool
    """Translated; else kept as it is."""


Pairs = frozenset[tuple[int, int]]


def split_segments(masked: str, pairs: Collection[tuple[int, int]] = ()) -> list[Segment]:
    """Joined, they are the document. Texts have no white space at either end, and a letter outside of marks.

    pairs: of marks; where two enclose a whole text, and nothing else, they are left outside."""
    seen = Counter(number for pair in pairs for number in pair)
    known = frozenset(pair for pair in pairs if seen[pair[0]] == seen[pair[1]] == 1)
    return [segment for line in _join_wrapped(masked) for segment in _split_line(line, known)]


async def fit_segments(segments: list[Segment], limit: int, count: Count) -> list[tuple[Segment, int]]:
    """The same with their numbers of tokens; texts above the limit are cut."""
    fitting: list[tuple[Segment, int]] = []
    for segment in segments:
        if not segment.is_text:
            fitting.append((segment, 0))
            continue
        for part in await split_to_fit(segment.text, limit, count, unbroken=MARK):
            fitting += [(piece, part.num_tokens if piece.is_text else 0) for piece in trim(part.text)]
    return fitting


def unwrapped(text: str) -> str:
    """As one line: what a model is asked, so that line ends are no business of its own."""
    return re.sub(r"(?<=[\u2e80-\u9fff])[^\S\n]*\n\s*|[^\S\n]*\n\s*", _joint, text)


def _joint(match: re.Match[str]) -> str:
    before = match.string[match.start() - 1 : match.start()]
    return "" if "\u2e80" <= before <= "\u9fff" else " "


def _join_wrapped(text: str) -> Iterator[str]:
    """Lines with their ends, and those that are one sentence wrapped together."""
    held = ""
    for line in text.splitlines(keepends=True) if text else ():
        if held and not _continues(held, line):
            yield held
            held = ""
        held += line
    if held:
        yield held


def _continues(held: str, line: str) -> bool:
    last = held.splitlines()[-1]
    if not held.endswith("\n") or len(last) < WRAP or last.endswith(SENTENCE_ENDS) or "|" in last:
        return False
    prefix = PREFIX.match(line)
    has_mark = bool(prefix and prefix[0].strip())
    return bool(line.strip()) and not has_mark and not last.lstrip().startswith("#") and "|" not in line


def _split_line(line: str, pairs: Pairs) -> Iterator[Segment]:
    prefix = PREFIX.match(line)
    begin = prefix.end() if prefix else 0
    if begin:
        yield Segment(line[:begin], False)
    rest = line[begin:]
    if rest.startswith("|"):
        for place, piece in enumerate(CELLS.split(rest)):
            yield from [Segment(piece, False)] if place % 2 and piece else trim(piece, pairs)
    else:
        yield from trim(rest, pairs)


def trim(text: str, pairs: Pairs = frozenset()) -> Iterator[Segment]:
    """One text at most, without what encloses it."""
    begin, end = _inner(text, pairs)
    inner = text[begin:end]
    if not any(character.isalpha() for character in MARK.sub("", inner)):
        begin = end = len(text)
    pieces = [Segment(text[:begin], False), Segment(text[begin:end], True), Segment(text[end:], False)]
    yield from (piece for piece in pieces if piece.text)


def _inner(text: str, pairs: Pairs) -> tuple[int, int]:
    begin, end = 0, len(text)
    while True:
        begin += len(text[begin:end]) - len(text[begin:end].lstrip())
        end = begin + len(text[begin:end].rstrip())
        marks = list(MARK.finditer(text, begin, end))
        if len(marks) < 2 or (marks[0].start(), marks[-1].end()) != (begin, end):
            return begin, end
        if (int(marks[0][1]), int(marks[-1][1])) not in pairs:
            return begin, end
        begin, end = marks[0].end(), marks[-1].start()
