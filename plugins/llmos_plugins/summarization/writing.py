"""One summary that the model writes: asked for, checked, asked for again, and at last set right and told."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from llmos_plugins.summarization.quotes import Source, find_quotes, without_marks, without_sentences
from llmos_plugins.summarization.tidying import tidy, within, without_preface, without_repeats, without_torn_end
from llmos_plugins.summarization.types import Problem, Style
from llmos_plugins.text.detection import is_other_language
from llmos_plugins.text.words import WORD, count_words
from llmos_server import Reply, SkillContext

TOLD = 80
"""Letters from which on a text's language is surely told."""
BULLET_WORDS = 8
"""Words that a bullet has at least, when their number is bound."""

BULLET = re.compile(r"^(?:[-*•]+|\d{1,2}[.)])(?:\s+|$)")
"""That a model wrote itself."""

TAGGED = {
    "empty": "the answer was empty",
    "form": "the answer had another form",
    "cut": "the answer was too long, and was cut",
    "shortened": "the answer had too many words",
    "repeated": "sentences were repeated",
    "chatter": "the answer began with words about the summary",
    "language": "the answer was in another language",
}


@dataclass(frozen=True)
class Wish:
    """What a summary has to be."""

    max_words: int
    style: Style
    language: str | None
    """A tag without subtags, to check by."""
    word_tokens: float
    """Tokens that a word may take."""

    @property
    def max_bullets(self) -> int:
        return max(1, min(12, self.max_words // BULLET_WORDS))

    @property
    def max_tokens(self) -> int:
        """With room for the form."""
        return int(self.word_tokens * self.max_words) + 60


@dataclass
class Draft:
    lines: list[str]
    """Paragraphs or bullets."""
    problems: list[Problem] = field(default_factory=list)
    quotes: list[str] = field(default_factory=list)
    invented: list[str] = field(default_factory=list)

    @property
    def badness(self) -> tuple[bool, int]:
        return not count_words(" ".join(self.lines)), len(self.problems)


class Writer:
    """Of one text's summaries."""

    def __init__(self, context: SkillContext, source: str) -> None:
        self._context = context
        self._source = Source(source)

    async def write(self, system: str, question: Callable[[str], str], wish: Wish) -> Draft:
        """question: makes a prompt of what was wrong before. Every quotation and the length are in order; what the
        model did wrong is told. Without any words when it had none."""
        draft = self._check(await self._ask(system, question(""), wish), wish)
        if draft.problems:
            told = "; ".join(problem.message for problem in draft.problems)[:400]
            again = self._check(await self._ask(system, question(told), wish), wish)
            draft = min(draft, again, key=lambda each: each.badness)
        return draft

    async def _ask(self, system: str, question: str, wish: Wish) -> Reply:
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        schema = _bullets_form(wish.max_bullets) if wish.style == "bullets" else None
        return await self._context.chat(messages, max_tokens=wish.max_tokens, schema=schema)

    def _check(self, reply: Reply, wish: Wish) -> Draft:
        """The answer set right, with what that took."""
        draft = Draft([])
        is_cut = reply.finish_reason == "length"
        if wish.style == "bullets":
            self._read_bullets(reply, draft)
        else:
            self._read_text(reply.text, is_cut, wish, draft)
        self._check_quotes(draft, wish)
        self._check_length(draft, wish)
        words = " ".join(WORD.findall(" ".join(draft.lines)))
        if wish.language and len(words) >= TOLD and is_other_language(words, wish.language):
            _note(draft, "language")
        if not words:
            draft.lines = []
            _note(draft, "empty")
        return draft

    def _read_text(self, text: str, is_cut: bool, wish: Wish, draft: Draft) -> None:
        text = tidy(text)
        if (rest := without_preface(text)) != text:
            _note(draft, "chatter")
        if wish.style == "headline":
            rest = rest.split("\n")[0].strip("#* ").removesuffix(".")
            if len(rest) > 2 and (rest[0], rest[-1]) in (('"', '"'), ("“", "”")) and find_quotes(rest) == [rest[1:-1]]:
                rest = rest[1:-1]
            draft.lines = [rest]
            return
        if (once := without_repeats(rest)) != rest:
            _note(draft, "repeated")
        if is_cut:
            once = without_torn_end(once)
            _note(draft, "cut")
        draft.lines = once.split("\n\n")

    def _read_bullets(self, reply: Reply, draft: Draft) -> None:
        try:
            points = msgspec.json.decode(reply.text, type=_Points).points
        except msgspec.DecodeError:
            _note(draft, "cut" if reply.finish_reason == "length" else "form")
            return
        lines = [BULLET.sub("", " ".join(point.split())) for point in points]
        draft.lines = list(dict.fromkeys(line for line in lines if count_words(line)))
        if len(draft.lines) < len([line for line in lines if count_words(line)]):
            _note(draft, "repeated")

    def _check_quotes(self, draft: Draft, wish: Wish) -> None:
        draft.quotes = find_quotes("\n".join(draft.lines))
        invented = draft.invented = [quote for quote in draft.quotes if not self._source.has(quote)]
        if not invented:
            return
        if wish.style == "paragraph":
            draft.lines = without_sentences("\n\n".join(draft.lines), invented).split("\n\n")
            what = "the sentences with them are left out"
        else:
            kept = [line for line in draft.lines if not any(quote in invented for quote in find_quotes(line))]
            draft.lines = kept or [without_marks(line, invented) for line in draft.lines]
            what = "the bullets with them are left out"
        if any(quote in " ".join(draft.lines) for quote in invented):
            what = "their quotation marks are left out"
        told = ", ".join(f"“{quote[:80]}”" for quote in invented[:3])
        message = f"these quotations are not in the text: {told}; {what}"
        draft.problems.append(Problem(kind="invented_quote", message=message, items=invented))

    def _check_length(self, draft: Draft, wish: Wish) -> None:
        if count_words(" ".join(draft.lines)) <= wish.max_words:
            return
        _note(draft, "shortened")
        if wish.style != "bullets":
            draft.lines = within("\n\n".join(draft.lines), wish.max_words).split("\n\n")
            return
        room = wish.max_words
        kept: list[str] = []
        for line in draft.lines:
            room -= count_words(line)
            if room < 0:
                break
            kept.append(line)
        draft.lines = kept or [within(draft.lines[0], wish.max_words)]


class _Points(msgspec.Struct):
    points: list[str]


def render(lines: Sequence[str], style: Style) -> str:
    return "\n".join(f"- {line}" for line in lines) if style == "bullets" else "\n\n".join(lines)


def _bullets_form(max_bullets: int) -> dict[str, object]:
    points = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": max_bullets}
    return {"type": "object", "properties": {"points": points}, "required": ["points"], "additionalProperties": False}


def _note(draft: Draft, kind: str) -> None:
    draft.problems.append(Problem(kind=kind, message=TAGGED[kind]))  # type: ignore[arg-type]
