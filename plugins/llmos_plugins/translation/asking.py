"""Texts and their translations: asked for together, checked one by one, asked for again, and at last put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from llmos_plugins.text.parts import split_sentences
from llmos_plugins.translation.checks import Fault, Rules, check, clean, close_up, usable
from llmos_plugins.translation.kept import MARK
from llmos_plugins.translation.segments import Segment, trim, unwrapped
from llmos_server import SkillContext

NO_ANSWER = Fault("form", "there was no complete answer", is_hard=True)


class Translated(NamedTuple):
    """One text's."""

    text: str
    """With all of the source's marks, each once."""
    faults: list[Fault]
    """What is still wrong with it."""


class _One(msgspec.Struct):
    translation: str


class _Several(msgspec.Struct):
    translations: list[str]


class Turn(NamedTuple):
    """An earlier question and its answer: texts with marks."""

    sources: list[str]
    answers: list[str]


class Asker:
    """Of one document."""

    def __init__(
        self, context: SkillContext, render: Callable[..., str], system: str, target: str, rules: Rules
    ) -> None:
        """render: a prompt by its name. target: the language's name."""
        self._context = context
        self._render = render
        self._target = target
        self._system = {"role": "system", "content": system}
        self._rules = rules

    async def translate(self, sources: Sequence[str], before: Turn | None) -> list[Translated]:
        """Each has hard faults no more, whatever the model has answered."""
        first = await self._try(sources, before)
        bad = [place for place, candidate in enumerate(first) if candidate.faults]
        if bad:
            told = "; ".join(dict.fromkeys(fault.message for place in bad for fault in first[place].faults))
            again = await self._try([sources[place] for place in bad], before, told[:400])
            for place, candidate in zip(bad, again, strict=True):
                first[place] = min(first[place], candidate, key=_badness)
        return [
            await self._rescue(source, candidate) if _is_hard(candidate) else self._accept(source, candidate)
            for source, candidate in zip(sources, first, strict=True)
        ]

    async def _try(
        self, sources: Sequence[str], before: Turn | None = None, told: str = "", *, in_halves: bool = True
    ) -> list[Translated]:
        answers = await self._ask([unwrapped(source) for source in sources], before, told, in_halves)
        return [
            Translated("", [NO_ANSWER]) if answer is None else self._checked(source, clean(answer))
            for source, answer in zip(sources, answers, strict=True)
        ]

    def _checked(self, source: str, answer: str) -> Translated:
        return Translated(answer, check(unwrapped(source), answer, self._rules))

    def _accept(self, source: str, candidate: Translated) -> Translated:
        text = close_up(source, usable(unwrapped(source), candidate.text), self._rules.masked)
        return Translated(text, candidate.faults)

    async def _rescue(self, source: str, candidate: Translated) -> Translated:
        """In pieces between the marks, which then stay where they are; without marks by sentences. What can't be had
        even so stays in the source's language."""
        faults = [fault for fault in candidate.faults if fault.is_hard]
        pieces = _cut(source)
        texts = [piece.text for piece in pieces if piece.is_text]
        if texts == [source]:
            return Translated(source, [*faults, Fault("untranslated", "no usable translation; the text is kept")])
        found = iter(await self._try(texts, in_halves=False))
        written = []
        kept = 0
        for piece in pieces:
            done = next(found) if piece.is_text else None
            is_lost = done is not None and _is_hard(done)
            kept += is_lost
            written.append(piece.text if done is None or is_lost else usable(unwrapped(piece.text), done.text))
        told = f"; {kept} of {len(texts)} pieces are kept untranslated" if kept else ""
        what = "untranslated" if kept else "in_pieces"
        fault = Fault(what, f"it was translated in pieces, so words may be in a wrong order{told}")
        return Translated("".join(written), [*faults, fault])

    async def _ask(self, texts: Sequence[str], before: Turn | None, told: str, in_halves: bool) -> Sequence[str | None]:
        """None where no answer can be had. in_halves: where that to several texts is of no use, fewer are asked for."""
        messages = [self._system]
        if before is not None and before.sources:
            messages += [self._question(before.sources), {"role": "assistant", "content": _to_answer(before.answers)}]
        messages.append(self._question(texts, told))
        reply = await self._context.chat(messages, max_tokens=await self._room(texts), schema=_form(len(texts)))
        answers = _read_answer(reply.text, len(texts))
        if answers is not None:
            return answers
        if len(texts) == 1 or not in_halves:
            return [None] * len(texts)
        half = len(texts) // 2
        first = await self._ask(texts[:half], before, told, in_halves)
        return [*first, *await self._ask(texts[half:], before, told, in_halves)]

    def _question(self, texts: Sequence[str], told: str = "") -> dict[str, str]:
        json = msgspec.json.encode(texts).decode()
        content = self._render("texts", texts=texts, json=json, target=self._target, told=told)
        return {"role": "user", "content": content}

    async def _room(self, texts: Sequence[str]) -> int:
        joined = " ".join(texts)
        return answer_room(await self._context.count_tokens(joined), len(joined), len(texts))


def answer_room(num_tokens: int, num_characters: int, num_texts: int) -> int:
    """Tokens for the translations of texts: other languages may take a token or more a letter."""
    return 2 * num_tokens + num_characters + 32 * num_texts


def _form(num_texts: int) -> dict[str, Any]:
    """One text is asked for in the plainest way: small models do it better so."""
    text = {"type": "string", "minLength": 1}
    if num_texts > 1:
        text = {"type": "array", "items": text, "minItems": num_texts, "maxItems": num_texts}
    name = "translation" if num_texts == 1 else "translations"
    return {"type": "object", "properties": {name: text}, "required": [name], "additionalProperties": False}


def _to_answer(answers: Sequence[str]) -> str:
    given = {"translation": answers[0]} if len(answers) == 1 else {"translations": answers}
    return msgspec.json.encode(given).decode()


def _read_answer(text: str, num_texts: int) -> list[str] | None:
    """None for another form: it was cut, or the model is one that no grammar holds."""
    try:
        if num_texts == 1:
            return [msgspec.json.decode(text, type=_One).translation]
        answers = msgspec.json.decode(text, type=_Several).translations
    except msgspec.DecodeError:
        return None
    return answers if len(answers) == num_texts else None


def _cut(source: str) -> list[Segment]:
    """Joined, the source."""
    if MARK.search(source):
        pieces = []
        end = 0
        for match in MARK.finditer(source):
            pieces += [*trim(source[end : match.start()]), Segment(match[0], False)]
            end = match.end()
        return [*pieces, *trim(source[end:])]
    return [piece for sentence in split_sentences(source) for piece in trim(sentence)]


def _is_hard(candidate: Translated) -> bool:
    return any(fault.is_hard for fault in candidate.faults)


def _badness(candidate: Translated) -> tuple[int, int]:
    return sum(fault.is_hard for fault in candidate.faults), len(candidate.faults)
