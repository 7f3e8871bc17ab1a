"""What may be wrong with a translation of one text, told so that the model can do better the next time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llmos_plugins.text.detection import is_other_language
from llmos_plugins.translation.kept import LOOSE_MARK, MARK, Masked, find_kept, mark_of, marks_in

PREFACE = re.compile(
    r"(?:(?:sure|certainly|of course|okay|ok)[!,.]?\s+)?"
    r"(?:here(?:'s|’s| is| are)|(?:the|my) translation|translation|translated text)\b[^:\n]{0,60}:\s*",
    re.IGNORECASE,
)
QUOTED = re.compile(r"""(["'“„«]).*["'”“»]""", re.DOTALL)
TOLD = 80
"""Letters from which on a text's language is surely told."""

LONG, SHORT = 40, 0.15
"""A translation of so many letters is cut short when it has less than this share of them; Chinese has a quarter."""


class Fault(NamedTuple):
    kind: str
    message: str
    """For the model, and for people."""
    items: tuple[str, ...] = ()
    is_hard: bool = False
    """The answer can't be used as it is."""


@dataclass(frozen=True)
class Rules:
    target: str
    """The target language's tag, without subtags."""
    source: str | None
    masked: Masked
    glossary: dict[str, str]


def check(source: str, answer: str, rules: Rules) -> list[Fault]:
    """source: with marks. answer: as clean() made it."""
    if not _words(answer):
        return [Fault("empty", "a translation is empty", is_hard=True)]
    faults = [*_check_marks(source, answer, rules.masked), *_check_language(source, answer, rules)]
    if missed := missed_terms(source, answer, rules.glossary):
        told = ", ".join(f"{term} = {rules.glossary[term]}" for term in missed)
        faults.append(Fault("glossary", f"the glossary was not followed: {told}", tuple(missed)))
    if "\n" in answer:
        faults.append(Fault("lines", "a text of one line was answered with several"))
    if PREFACE.match(answer) and not PREFACE.match(source):
        faults.append(Fault("chatter", "a translation begins with words about the translation"))
    if len(source) >= LONG and len(answer) < SHORT * len(source):
        faults.append(Fault("short", "a translation is much shorter than the text"))
    if source.count("**") != answer.count("**"):
        faults.append(Fault("emphasis", "the marks ** of bold text are not the same"))
    return faults


def clean(answer: str) -> str:
    """Marks as they are written, no white space at the ends."""
    return LOOSE_MARK.sub(lambda match: mark_of(int(match[1])), answer).strip()


def usable(source: str, answer: str) -> str:
    """What is left of an answer without hard faults when words about the translation and line ends are taken off."""
    if not PREFACE.match(source) and (preface := PREFACE.match(answer)):
        rest = answer[preface.end() :].strip()
        if QUOTED.fullmatch(rest) and not QUOTED.fullmatch(source):
            rest = rest[1:-1].strip()
        if rest and sorted(marks_in(rest)) == sorted(marks_in(answer)):
            answer = rest
    return " ".join(answer.split("\n")) if "\n" in answer else answer


def close_up(source: str, answer: str, masked: Masked) -> str:
    """No white space within what opens and closes, where the source has none: models like to add some."""
    for number in marks_in(source):
        mark = mark_of(number)
        if number in masked.openers and f"{mark} " not in source:
            answer = re.sub(rf"{mark}[^\S\n]+", mark, answer)
        if number in masked.closers and f" {mark}" not in source:
            answer = re.sub(rf"[^\S\n]+{mark}", mark, answer)
    return answer


def missed_terms(source: str, answer: str, glossary: dict[str, str]) -> list[str]:
    wanted = [term for term in glossary if has_term(source, term)]
    return [term for term in wanted if glossary[term].casefold() not in answer.casefold()]


def has_term(text: str, term: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(term)}(?!\w)", text, re.IGNORECASE) is not None


def _check_marks(source: str, answer: str, masked: Masked) -> Iterator[Fault]:
    wanted, found = marks_in(source), marks_in(answer)
    lost = [number for number in wanted if number not in found]
    repeated = sorted({number for number in found if found.count(number) > 1})
    unknown = sorted(set(found) - set(wanted))
    written = find_kept(MARK.sub(" ", answer)) if not find_kept(MARK.sub(" ", source)) else []
    if lost:
        yield Fault("lost", f"these marks are missing: {_told(lost)}", tuple(map(str, lost)), is_hard=True)
    if repeated:
        yield Fault("invented", f"these marks are there more than once: {_told(repeated)}", is_hard=True)
    if unknown or written:
        told = " ".join([_told(unknown), *written[:5]]).strip()
        yield Fault("invented", f"this is not in the text: {told[:200]}", is_hard=True)
    places = {number: place for place, number in enumerate(found)}
    pairs = [(number, after) for number in places for after in masked.followers.get(number, ())]
    swapped = [(first, after) for first, after in pairs if places.get(after, len(found)) < places[first]]
    if swapped and not lost and not repeated:
        told = ", ".join(f"{mark_of(first)} before {mark_of(after)}" for first, after in swapped[:5])
        yield Fault("order", f"the order has to be: {told}", is_hard=True)


def _check_language(source: str, answer: str, rules: Rules) -> Iterator[Fault]:
    if rules.source == rules.target:
        return
    words, answered = _words(source), _words(answer)
    if len(words) >= 4 and words == answered:
        yield Fault("untranslated", "a text was repeated instead of translated")
    elif len("".join(answered)) >= TOLD and is_other_language(" ".join(answered), rules.target):
        yield Fault("untranslated", "a translation is not in the language that was asked for")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", MARK.sub(" ", text).casefold())


def _told(numbers: Sequence[int]) -> str:
    return " ".join(mark_of(number) for number in numbers[:10])
