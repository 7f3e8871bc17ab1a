"""Texts cut into parts that a model can take: at paragraphs, else at sentences, else at words, else anywhere."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import NamedTuple

PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
SENTENCE = re.compile(
    r"""(?<=[.!?…])["'”’»)\]]*\s+(?=["'“‘„«(\[<]*[^\sa-z])|(?<=[。！？])["'”’」』）]*\s*|\n\s*""", re.VERBOSE
)
ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Za-zÄÖÜ]|Dr|Mr|Mrs|Ms|Prof|St|vs|etc|cf|ca|Nr|No|Bd|Abs|bzw|usw|vgl|ggf|Inc|Ltd|Jr|Sr|Fig|approx))\.\s*$"
)
WORD = re.compile(r"\s+")
MAX_SENTENCE = 1000
"""Letters up to which an abbreviation doesn't end one."""
BATCH = 64
"""Texts that are counted at a time."""

Count = Callable[[str], Awaitable[int]]


class Part(NamedTuple):
    text: str
    num_tokens: int


def split_sentences(text: str) -> list[str]:
    """Each with the white space behind it: joined, they are the text."""
    sentences: list[str] = []
    for piece in _split_after(SENTENCE, text):
        last = sentences[-1] if sentences else ""
        if len(last) <= MAX_SENTENCE and ABBREVIATION.search(last[-12:]) and not last.endswith("\n"):
            sentences[-1] += piece
        else:
            sentences.append(piece)
    return sentences


async def count_all(texts: Sequence[str], count: Count) -> list[Part]:
    parts = []
    for begin in range(0, len(texts), BATCH):
        batch = texts[begin : begin + BATCH]
        parts += list(map(Part, batch, await asyncio.gather(*map(count, batch))))
    return parts


async def split_to_fit(text: str, limit: int, count: Count, *, unbroken: re.Pattern[str] | None = None) -> list[Part]:
    """Parts of at most `limit` tokens, as few as there can be of whole paragraphs and sentences; joined they are the
    text. unbroken: what is never cut, however little fits; shorter than a part."""
    pieces = await _split(text, limit, count, unbroken, 0)
    return [merged for merged in _pack(pieces, limit) if merged.text]


async def _split(text: str, limit: int, count: Count, unbroken: re.Pattern[str] | None, level: int) -> list[Part]:
    (whole,) = await count_all([text], count)
    if whole.num_tokens <= limit:
        return [whole]
    if level == len(_LEVELS):
        return await _halve(text, limit, count, unbroken)
    fitting: list[Part] = []
    for part in await count_all(_LEVELS[level](text), count):
        fits = part.num_tokens <= limit
        fitting += [part] if fits else await _split(part.text, limit, count, unbroken, level + 1)
    return fitting


async def _halve(text: str, limit: int, count: Count, unbroken: re.Pattern[str] | None) -> list[Part]:
    """A word as long as a part."""
    middle = len(text) // 2
    spans = (match.span() for match in unbroken.finditer(text)) if unbroken else iter(())
    middle = next((begin or end for begin, end in spans if begin < middle < end), middle)
    if middle in (0, len(text)):
        return await count_all([text], count)
    last = len(_LEVELS)
    return [
        part for half in (text[:middle], text[middle:]) for part in await _split(half, limit, count, unbroken, last)
    ]


def _pack(parts: Sequence[Part], limit: int) -> Iterator[Part]:
    """Neighbours together while they fit."""
    text, num_tokens = "", 0
    for part in parts:
        if num_tokens + part.num_tokens > limit:
            yield Part(text, num_tokens)
            text, num_tokens = "", 0
        text, num_tokens = text + part.text, num_tokens + part.num_tokens
    yield Part(text, num_tokens)


def _split_after(pattern: re.Pattern[str], text: str) -> list[str]:
    ends = [match.end() for match in pattern.finditer(text) if match.end() > 0]
    return [piece for a, b in zip([0, *ends], [*ends, len(text)], strict=True) if (piece := text[a:b])]


_LEVELS = (
    lambda text: _split_after(PARAGRAPH, text),
    split_sentences,
    lambda text: _split_after(WORD, text),
)
