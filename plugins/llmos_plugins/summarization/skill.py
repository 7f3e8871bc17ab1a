"""Summarizes texts of any length: as a whole where they fit the model's context, else from notes of their parts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from llmos_plugins.summarization.measuring import measure
from llmos_plugins.summarization.tidying import within
from llmos_plugins.summarization.types import (
    Problem,
    Quote,
    Style,
    SummarizationInput,
    SummarizationOutput,
)
from llmos_plugins.summarization.writing import Draft, Wish, Writer, render
from llmos_plugins.text.detection import detect
from llmos_plugins.text.languages import Language, find_language
from llmos_plugins.text.parts import split_to_fit
from llmos_plugins.text.words import count_words
from llmos_server import InputError, Outcome, Skill, SkillContext

WORDS = {"short": 50, "medium": 120, "long": 300}
HEADLINE_WORDS = 15
MAX_PART_TOKENS = 3000
MIN_PART_TOKENS = 256
"""Notes of shorter parts would not be shorter than the parts."""
TEMPLATE_TOKENS = 200
"""Room for the chat template, and for what is told of a wrong answer."""
MAX_LEVELS = 12


class Summarization(Skill[SummarizationInput, SummarizationOutput]):
    name = "summarization"
    version = "1.0.0"
    description = (
        "Summarizes a text of any length in few words, as a paragraph, bullets or a headline. Use it when the gist of "
        "a long text is wanted."
    )
    input_type = SummarizationInput
    output_type = SummarizationOutput
    chat_defaults: Mapping[str, Any] = {}
    metric = "rouge_l"
    minimum_score = 40.0
    timeout_seconds = 3600.0

    async def run(self, input: SummarizationInput, context: SkillContext) -> SummarizationOutput:
        if not count_words(input.text):
            raise InputError("there is no word in it", field="text")
        language = _find_language(input)
        tag = language.base if language else None
        wish = Wish(_max_words(input), input.style, tag, await _word_tokens(input.text, context))
        values = {"focus": input.focus, "language": language.name if language else None}
        reading = _Reading(self, input.text, values, context)
        text = await reading.shrink(wish)
        draft = await reading.write(text, wish)
        result = render(draft.lines, input.style)
        context.progress(reading.num_calls, reading.num_calls, "done")
        return SummarizationOutput(
            result=result,
            num_words=count_words(result),
            language=language.tag if language else None,
            num_parts=reading.num_parts,
            num_levels=reading.num_levels,
            quotes=[Quote(text=quote, is_verbatim=quote not in draft.invented) for quote in draft.quotes],
            problems=[*reading.problems, *draft.problems],
        )

    def measure(self, outcomes: Sequence[Outcome[SummarizationInput, SummarizationOutput]]) -> dict[str, float]:
        """See measuring.py."""
        return measure(outcomes)


class _Reading:
    """Of one text."""

    def __init__(self, skill: Summarization, text: str, values: dict[str, Any], context: SkillContext) -> None:
        self.problems: list[Problem] = []
        self.num_parts = 1
        self.num_levels = 0
        self.num_calls = 0
        self._num_planned = 1
        self._render = skill.prompts.render
        self._source = text
        self._values = values
        self._context = context
        self._writer = Writer(context, text)

    async def shrink(self, wish: Wish) -> str:
        """The text, or notes of it that a question for the summary holds."""
        text = self._source
        room = await self._room(self._system("summary", wish), wish.max_tokens)
        num_tokens = await self._context.count_tokens(text)
        if num_tokens <= room:
            return text
        while num_tokens > room and self.num_levels < MAX_LEVELS:
            self.num_levels += 1
            text = await self._take_notes(text, wish.word_tokens)
            num_tokens = await self._context.count_tokens(text)
        if num_tokens > room:
            raise RuntimeError("notes of notes don't get shorter")
        return text

    async def write(self, text: str, wish: Wish) -> Draft:
        self._tell("summary")
        is_notes = self.num_levels > 0

        def question(told: str) -> str:
            return self._render("question", text=text, told=told, is_notes=is_notes, **self._wished(wish))

        draft = await self._writer.write(self._system("summary", wish), question, wish)
        self.num_calls += 1
        if not draft.lines:
            message = "the model wrote no summary; these are the text's first sentences"
            draft.problems.append(Problem(kind="empty", message=message))
            draft.lines = [within(" ".join(self._source.split()), wish.max_words)]
        return draft

    async def _take_notes(self, text: str, word_tokens: float) -> str:
        wish = await self._notes_wish(word_tokens)
        system = self._system("notes", wish)
        limit = await self._room(system, wish.max_tokens)
        parts = await split_to_fit(text, min(limit, MAX_PART_TOKENS), self._context.count_tokens)
        if self.num_levels == 1:
            self.num_parts = len(parts)
        self._num_planned += len(parts)
        texts = enumerate(part.text for part in parts)
        notes = await asyncio.gather(*(self._note(part, number, system, wish) for number, part in texts))
        return "\n\n".join(note for note in notes if note)

    async def _note(self, text: str, number: int, system: str, wish: Wish) -> str:
        """ "" for a part of which nothing was noted."""
        if not count_words(text):
            self.num_calls += 1
            return ""

        def question(told: str) -> str:
            return self._render("question", text=text, told=told, is_notes=False, **self._wished(wish))

        draft = await self._writer.write(system, question, wish)
        self.num_calls += 1
        self._tell("notes")
        if not draft.lines:
            message = f"the model noted nothing of part {number + 1} (level {self.num_levels})"
            self.problems.append(Problem(kind="part_lost", message=message, items=[text.strip()[:80]]))
        return render(draft.lines, wish.style)

    async def _notes_wish(self, word_tokens: float) -> Wish:
        """Notes of a part take a quarter of its tokens, so they get shorter with each level."""
        probe = Wish(100, "paragraph", None, word_tokens)
        room = await self._room(self._system("notes", probe), 0)
        limit = min(room * 3 // 4 - 60, MAX_PART_TOKENS)
        if limit < MIN_PART_TOKENS:
            raise InputError(
                f"the model's context of {self._context.max_model_len} tokens is too short for a text that doesn't fit "
                "into it as a whole; take a model with a longer one",
                field="model",
            )
        return Wish(max(1, int(limit / 4 / word_tokens)), "paragraph", None, word_tokens)

    async def _room(self, system: str, max_tokens: int) -> int:
        """Tokens of text in a question. Raises InputError where there is none."""
        prompts = await self._context.count_tokens(system)
        room = self._context.max_model_len - prompts - TEMPLATE_TOKENS - max_tokens
        if room <= 0:
            context = self._context.max_model_len
            message = f"a summary of that length has no room in the model's context of {context} tokens"
            raise InputError(message, field="max_words")
        return room

    def _system(self, name: str, wish: Wish) -> str:
        return self._render(name, **self._wished(wish))

    def _wished(self, wish: Wish) -> dict[str, Any]:
        style: Style = wish.style
        return {**self._values, "style": style, "max_words": wish.max_words, "max_bullets": wish.max_bullets}

    def _tell(self, note: str) -> None:
        self._context.progress(self.num_calls, self._num_planned, note)


def _max_words(input: SummarizationInput) -> int:
    if input.max_words is not None and input.length is not None:
        raise InputError("length and max_words both bound the summary; leave one of them out", field="length")
    if input.max_words is not None:
        return input.max_words
    if input.style == "headline" and input.length is not None:
        raise InputError("a headline has 15 words at most; bound it by max_words", field="length")
    return HEADLINE_WORDS if input.style == "headline" else WORDS[input.length or "medium"]


async def _word_tokens(text: str, context: SkillContext) -> float:
    """By the text's begin, half as much again, for a summary may have longer words or be in another language."""
    sample = text[:20_000]
    per_word = await context.count_tokens(sample) / max(count_words(sample), 1)
    return min(max(1.5 * per_word, 3.0), 12.0)


def _find_language(input: SummarizationInput) -> Language | None:
    if input.language is not None:
        try:
            return find_language(input.language)
        except ValueError as error:
            raise InputError(str(error), field="language") from None
    detection = detect(input.text)
    return find_language(detection.tag) if detection.tag else None
