"""What a translation must not change, out of the model's sight: each placeholder, tag, link, code span and address
becomes a mark such as <x7/>, and is put back afterwards."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

MARK = re.compile(r"<x(\d+)/>")
LOOSE_MARK = re.compile(r"<\s*[xX]\s*(\d+)\s*/?\s*>")
"""As models write it."""

INLINE = re.compile(
    r"""
    (?P<code>     (?P<ticks>`{1,4})(?!`)[^`\n](?:[^\n]{0,500}?[^`\n])??(?P=ticks)(?!`) )
  | (?P<address>  <(?:https?|ftp|mailto):[^\s<>]{1,1000}>
                | \b(?:https?|ftp)://[^\s<>"'`{}\])]{1,1000}[^\s<>"'`{}\]).,;:!?]
                | \bwww\.[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}(?:/[^\s<>"'`]{0,500}[^\s<>"'`.,;:!?)])?
                | \b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}\b )
  | (?P<template> \{\{[^{}\n]{0,300}\}\}\}? | \{%[^\n]{0,300}?%\} | \{\#[^\n]{0,300}?\#\} | <%[^\n]{0,300}?%>
                | <\?[^\n]{0,300}?\?> | [$\#%]\{[^{}\n]{1,300}\} | \$[A-Za-z_]\w{0,99} )
  | (?P<tag>      </?[A-Za-z][\w:.-]{0,99}(?:"[^"]{0,1000}"|'[^']{0,1000}'|[^'"<>]){0,1000}> )
  | (?P<printf>   %% | (?<!\d)%(?:\(\w{1,99}\))?(?:\d{1,2}\$)?[-+\#0]{0,4}(?:\d{1,3}|\*)?(?:\.(?:\d{1,3}|\*)?)?
                  (?:hh?|ll?|[Lqjzt])?[sdiufFeEgGxXoOcrapn@](?![A-Za-z]) )
  | (?P<message>  \{\s{0,9}\w{1,99}\s{0,9},\s{0,9}(?:plural|select|selectordinal)\s{0,9},
                  (?:[^{}]|\{(?:[^{}]|\{[^{}]{0,300}\}){0,500}\}){0,2000}\} )
  | (?P<brace>    \{[\w.\-\[\]]{0,99}(?:![rsa])?(?::[^{}\n]{0,99}|,\s?[\w ,:.\#-]{1,99})?\} )
  | (?P<link>     !?\[(?=[^\[\]\n]{1,300}\]\([^()\s]{0,500}(?:\([^()\s]{0,99}\)[^()\s]{0,99})?(?:\s+"[^"\n]{0,300}")?\))
                | \]\([^()\s]{0,500}(?:\([^()\s]{0,99}\)[^()\s]{0,99})?(?:\s+"[^"\n]{0,300}")?\)
                | !?\[(?=[^\[\]\n]{1,300}\]\[[^\[\]\n]{0,100}\]) | \]\[[^\[\]\n]{0,100}\] )
  | (?P<entity>   &(?:[A-Za-z]\w{1,30}|\#\d{1,7}|\#[xX][0-9A-Fa-f]{1,6}); )
  | (?P<escape>   \\n | \\[rt](?![a-z]) )
    """,
    re.VERBOSE,
)
"""No repeat is without a bound: a hostile text costs its length times a constant."""

VERBATIM = re.compile(
    r"(?P<comment><!--)|<(?P<element>pre|code|script|style|kbd|samp|var)\b[^<>]{0,1000}>|^[^\S\n]{0,3}(?P<fence>`{3,9}|~{3,9})",
    re.MULTILINE | re.IGNORECASE,
)
FRONT_MATTER = re.compile(r"\A---[^\S\n]*\n(?:(?!---)[^\n]*\n){0,200}---[^\S\n]*(?:\n|\Z)")
MESSAGE = re.compile(r"\{\s*\w+\s*,\s*(?:plural|select|selectordinal)\b")
"""Its texts stand within what is kept."""
TAG_NAME = re.compile(r"<(/?)([A-Za-z][\w:.-]*)")
WITHOUT_END = frozenset({"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})


class Span(NamedTuple):
    begin: int
    end: int


@dataclass(frozen=True)
class Masked:
    text: str
    """With marks. It has none but ours: what looks like one in the source is a tag, and masked."""
    kept: list[str]
    """kept[i] stands behind <x{i+1}/>."""
    pairs: frozenset[tuple[int, int]]
    """Marks of what opens and what closes."""
    places: frozenset[tuple[int, int]]
    """Neighbours among the placeholders that are told apart by their order alone ("%s", "{}")."""

    @cached_property
    def followers(self) -> dict[int, list[int]]:
        """Mark -> those that have to come behind it."""
        found: dict[int, list[int]] = {}
        for first, second in sorted(self.pairs | self.places):
            found.setdefault(first, []).append(second)
        return found

    @cached_property
    def openers(self) -> frozenset[int]:
        return frozenset(opener for opener, _ in self.pairs) - {closer for _, closer in self.pairs}

    @cached_property
    def closers(self) -> frozenset[int]:
        return frozenset(closer for _, closer in self.pairs) - {opener for opener, _ in self.pairs}


def mask(text: str, terms: Sequence[str] = ()) -> Masked:
    """terms: further texts to keep, as whole words."""
    spans = _find(text, terms)
    groups = _adjacent(spans)
    pieces, kept = [], []
    end = 0
    for group in groups:
        begin, stop = group[0].begin, group[-1].end
        kept.append(text[begin:stop])
        pieces += [text[end:begin], mark_of(len(kept))]
        end = stop
    held = [[text[span.begin : span.end] for span in group] for group in groups]
    return Masked("".join([*pieces, text[end:]]), kept, frozenset(_pairs(held)), frozenset(_places(held)))


def unmask(text: str, kept: Sequence[str]) -> str:
    """Raises IndexError for a mark of nothing."""
    return MARK.sub(lambda match: kept[int(match[1]) - 1], text)


def marks_in(text: str) -> list[int]:
    return [int(match[1]) for match in MARK.finditer(text)]


def mark_of(number: int) -> str:
    return f"<x{number}/>"


def find_kept(text: str) -> list[str]:
    """What is in the text that mask() would hide, but for glossaries' terms."""
    return [text[span.begin : span.end] for span in _find(text, ())]


def _find(text: str, terms: Sequence[str]) -> list[Span]:
    """In order, apart from each other."""
    spans: list[Span] = []
    end = 0
    for block in _find_blocks(text):
        spans += [*_find_inline(text, end, block.begin, terms), block]
        end = block.end
    return [*spans, *_find_inline(text, end, len(text), terms)]


def _find_inline(text: str, begin: int, end: int, terms: Sequence[str]) -> Iterator[Span]:
    words = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True))
    pattern = re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None
    last = begin
    for match in INLINE.finditer(text, begin, end):
        yield from _find_terms(pattern, text, last, match.start())
        yield Span(match.start(), match.end())
        last = match.end()
    yield from _find_terms(pattern, text, last, end)


def _find_terms(pattern: re.Pattern[str] | None, text: str, begin: int, end: int) -> Iterator[Span]:
    for match in pattern.finditer(text, begin, end) if pattern else ():
        yield Span(match.start(), match.end())


def _find_blocks(text: str) -> Iterator[Span]:
    """Fenced code, comments, front matter and elements whose content is code; each is searched for its end once."""
    position = 0
    if front := FRONT_MATTER.match(text):
        yield Span(0, front.end())
        position = front.end()
    without_end: set[str] = set()
    while match := VERBATIM.search(text, position):
        position = match.end()
        ending = _ending(match)
        if ending in without_end:
            continue
        stop = re.compile(ending, re.MULTILINE | re.IGNORECASE).search(text, match.end())
        if stop is None:
            without_end.add(ending)
            continue
        yield Span(match.start(), stop.end())
        position = stop.end()


def _ending(match: re.Match[str]) -> str:
    if match["comment"]:
        return "-->"
    if match["fence"]:
        return rf"\n[^\S\n]{{0,3}}{match['fence']}[`~]*[^\S\n]*$"
    return rf"</{match['element'].lower()}\s*>"


def _adjacent(spans: Sequence[Span]) -> list[list[Span]]:
    """What touches is one mark: the fewer marks, the fewer are lost."""
    groups: list[list[Span]] = []
    for span in spans:
        if groups and groups[-1][-1].end == span.begin:
            groups[-1].append(span)
        else:
            groups.append([span])
    return groups


def _pairs(groups: Sequence[Sequence[str]]) -> Iterator[tuple[int, int]]:
    open_marks: dict[str, list[int]] = {}
    for number, group in enumerate(groups, start=1):
        for text in group:
            name, closes = _pair_name(text)
            if name and not closes:
                open_marks.setdefault(name, []).append(number)
            elif name and open_marks.get(name) and (opener := open_marks[name].pop()) != number:
                yield opener, number


def _places(groups: Sequence[Sequence[str]]) -> Iterator[tuple[int, int]]:
    numbers = [number for number, group in enumerate(groups, start=1) if any(map(_is_positional, group))]
    yield from itertools.pairwise(numbers)


def _pair_name(text: str) -> tuple[str, bool]:
    """("", ...) for what is no half of a pair."""
    if text in ("[", "!["):
        return "[", False
    if text.startswith("]"):
        return "[", True
    match = TAG_NAME.match(text)
    if match is None or text.endswith("/>") or match[2].lower() in WITHOUT_END or "</" in text[1:]:
        return "", False
    return match[2].lower(), bool(match[1])


def _is_positional(text: str) -> bool:
    if text.startswith("%"):
        return text != "%%" and not re.match(r"%(?:\(|\{|\d+\$)", text)
    return bool(re.fullmatch(r"\{(?:![rsa])?(?::[^{}]*)?\}", text))
