"""Translates documents part by part; docs/skills.md tells what it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmos_plugins.text.detection import Detection, detect
from llmos_plugins.text.languages import Language, find_language
from llmos_plugins.translation.asking import Asker, Translated, Turn, answer_room
from llmos_plugins.translation.checks import Fault, Rules, has_term
from llmos_plugins.translation.formality import address_of
from llmos_plugins.translation.kept import MARK, MESSAGE, Masked, mask, unmask
from llmos_plugins.translation.measuring import measure
from llmos_plugins.translation.segments import Segment, fit_segments, split_segments
from llmos_plugins.translation.types import Problem, TranslationInput, TranslationOutput
from llmos_server import InputError, Outcome, Skill, SkillContext

MAX_PART_TOKENS = 400
MAX_PART_TEXTS = 12
TEMPLATE_TOKENS = 200
"""Room for the chat template, and for what is told of a wrong answer."""
EXCERPT = 120


class Translation(Skill[TranslationInput, TranslationOutput]):
    name = "translation"
    version = "1.0.0"
    description = (
        "Translates a text into another language; keeps placeholders, markup, code and addresses. Use it when text is "
        "wanted in another language."
    )
    input_type = TranslationInput
    output_type = TranslationOutput
    chat_defaults: Mapping[str, Any] = {"target": "en"}
    metric = "chrf"
    minimum_score = 50.0
    timeout_seconds = 3600.0

    async def run(self, input: TranslationInput, context: SkillContext) -> TranslationOutput:
        target = _language("target", input.target)
        fixed = [term for term, translation in input.glossary.items() if term == translation]
        masked = mask(input.text, fixed)
        source, detection, problems = _find_source(input, target, masked)
        glossary = {t: to for t, to in input.glossary.items() if t != to and has_term(input.text, t)}
        system = self.prompts.render(
            "system",
            source=source.name if source else None,
            target=target.name,
            has_marks=bool(masked.kept),
            formality=input.formality,
            address=address_of(target.base, input.formality),
            glossary=glossary,
        )
        rules = Rules(target.base, source.base if source else None, masked, glossary)
        limit = await _part_limit(masked.text, system, bool(glossary), context)
        segments = await fit_segments(split_segments(masked.text, masked.pairs), limit, context.count_tokens)
        document = _Document(masked, context, Asker(context, self.prompts.render, system, target.name, rules), limit)
        parts = _to_parts(segments, limit)
        result = await document.translate(parts)
        return TranslationOutput(
            result=result,
            source=source.tag if source else None,
            source_probability=detection.probability if detection else None,
            target=target.tag,
            num_parts=len(parts),
            num_kept=len(masked.kept),
            problems=[*problems, *_kept_messages(masked), *document.problems],
        )

    def measure(self, outcomes: Sequence[Outcome[TranslationInput, TranslationOutput]]) -> dict[str, float]:
        """See measuring.py."""
        return measure(outcomes)


class _Document:
    """Translates its parts in turn, each with the end of the one before in sight."""

    def __init__(self, masked: Masked, context: SkillContext, asker: Asker, limit: int) -> None:
        self.problems: list[Problem] = []
        self._masked = masked
        self._context = context
        self._asker = asker
        self._limit = limit

    async def translate(self, parts: Sequence[Sequence[Segment]]) -> str:
        written: list[str] = []
        before: Turn | None = None
        total = len(self._masked.text)
        done = 0
        for number, part in enumerate(parts, start=1):
            self._context.progress(done, total, f"part {number} of {len(parts)}")
            sources = [segment.text for segment in part if segment.is_text]
            found = await self._asker.translate(sources, before) if sources else []
            for source, translated in zip(sources, found, strict=True):
                self._note(source, translated)
            texts = iter(found)
            piece = "".join(next(texts).text if segment.is_text else segment.text for segment in part)
            written.append(unmask(piece, self._masked.kept))
            self._context.write(written[-1])
            before = await self._last_turn(sources, found)
            done += sum(len(segment.text) for segment in part)
        self._context.progress(total, total, "done")
        return "".join(written)

    async def _last_turn(self, sources: Sequence[str], found: Sequence[Translated]) -> Turn | None:
        """The last texts that came out well, as many as a quarter of a part holds."""
        turn = Turn([], [])
        room = self._limit // 4
        for source, translated in zip(reversed(sources), reversed(found), strict=True):
            room -= await self._context.count_tokens(source)
            if room < 0 or translated.faults or len(translated.text) > 2 * len(source) + 20:
                break
            turn.sources.insert(0, source)
            turn.answers.insert(0, translated.text)
        return turn if turn.sources else None

    def _note(self, source: str, translated: Translated) -> None:
        shown = unmask(source, self._masked.kept)
        excerpt = shown if len(shown) <= EXCERPT else shown[:EXCERPT] + "…"
        for fault in translated.faults:
            self.problems.append(
                Problem(kind=fault.kind, message=self._told(fault), source=excerpt, items=self._items(fault))  # type: ignore[arg-type]
            )

    def _told(self, fault: Fault) -> str:
        """With what stands behind the marks, which people have never seen."""
        kept = dict(enumerate(self._masked.kept, start=1))
        return MARK.sub(lambda match: kept.get(int(match[1]), match[0]), fault.message)

    def _items(self, fault: Fault) -> list[str]:
        if fault.kind == "lost":
            return [self._masked.kept[int(number) - 1] for number in fault.items]
        return list(fault.items)


def _language(field: str, text: str) -> Language:
    try:
        return find_language(text)
    except ValueError as error:
        raise InputError(str(error), field=field) from None


def _find_source(
    input: TranslationInput, target: Language, masked: Masked
) -> tuple[Language | None, Detection | None, list[Problem]]:
    if input.source is not None:
        source = _language("source", input.source)
        if source.tag == target.tag:
            raise InputError(f"source and target are both {target.name}", field="source")
        return source, None, []
    detection = detect(MARK.sub(" ", masked.text).strip())
    if detection.tag is None:
        message = "the source's language is unclear; the model was left to see it. Name it in source."
        return None, detection, [Problem(kind="source_unclear", message=message)]
    problems = []
    if detection.tag == target.tag:
        message = f"the text seems to be in {target.name} already. Name its language in source if it isn't."
        problems = [Problem(kind="same_language", message=message)]
    return find_language(detection.tag), detection, problems


def _kept_messages(masked: Masked) -> Iterator[Problem]:
    for kept in masked.kept:
        if MESSAGE.match(kept):
            message = "a message with forms for numbers or choices is kept as it is"
            yield Problem(kind="untranslated", message=message, source=kept[:EXCERPT])


async def _part_limit(text: str, system: str, has_glossary: bool, context: SkillContext) -> int:
    """Tokens of source text in a part: with instructions, the texts before and all of the answer they fit the model's
    context. Raises InputError where that is too short."""
    num_system = await context.count_tokens(system)
    room = context.max_model_len - num_system - TEMPLATE_TOKENS
    num_tokens = max(await context.count_tokens(text), 1)
    texts = answer_room(0, 0, 1) * MAX_PART_TEXTS
    cost = 2.0 + answer_room(num_tokens, len(text), 0) / num_tokens
    """A token of a part costs: itself with JSON's escapes, a share of the texts before with their translations, and
    its room in the answer."""
    limit = min(MAX_PART_TOKENS, int((room - texts) / cost))
    if limit < 16:
        told = "shorten the glossary, or take" if has_glossary else "take"
        raise InputError(
            f"the model's context of {context.max_model_len} tokens has no room for a part of the text; {told} a model "
            "with a longer one",
            field="glossary" if has_glossary else "model",
        )
    return limit


def _to_parts(segments: Sequence[tuple[Segment, int]], limit: int) -> list[list[Segment]]:
    """In order, all segments; a part has at most `limit` tokens and MAX_PART_TEXTS texts."""
    parts: list[list[Segment]] = [[]]
    room, places = limit, MAX_PART_TEXTS
    for segment, num_tokens in segments:
        if segment.is_text and (num_tokens > room or places == 0) and any(s.is_text for s in parts[-1]):
            parts.append([])
            room, places = limit, MAX_PART_TEXTS
        parts[-1].append(segment)
        room -= num_tokens
        places -= segment.is_text
    return parts
