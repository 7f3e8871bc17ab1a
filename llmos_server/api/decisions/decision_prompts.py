"""Typed questions as prompts that end where one of a few labels has to follow."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

from llmos_server.api.schemas.systemone import MAX_LEVELS, MAX_OPTIONS, MIN_LEVELS, Content, DecisionQuestion
from llmos_server.errors import InvalidRequest

LETTERS = string.ascii_uppercase
CODES = ["".join(pair) for pair in product(LETTERS, repeat=2)]
"""For more options than there are letters. All as long, so that none is the begin of another."""
TRUE, FALSE = "true", "false"
ANSWER = "Answer:"
"""What a plain prompt ends with, for models without a chat template."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Checked; its options in the order in which the model sees them."""

    id: str
    wire: DecisionQuestion
    options: list[str]
    """A choice's own names; a score's levels as numbers; true and false."""
    descriptions: list[Content | None]
    labels: list[str]
    """What the model says for each."""

    def text(self) -> str:
        """The question, and how it is to be answered."""
        return "\n".join([as_text(self.wire.instructions), *self._option_lines(), self._request()])

    def option_texts(self) -> list[str]:
        """Each option with what it means."""
        described = zip(self.options, self.descriptions, strict=True)
        if self.wire.type == "score":
            return [as_text(text) for _, text in described]
        return [_titled(name, text) for name, text in described]

    def _option_lines(self) -> list[str]:
        if self.wire.type == "noul":
            described = zip(self.labels, self.descriptions, strict=True)
            return [f"{label} means: {as_text(text)}" for label, text in described if text is not None]
        title = "Levels, from lowest to highest:" if self.wire.type == "score" else "Options:"
        lettered = zip(self.labels, self.option_texts(), strict=True)
        return [title, *(f"{label}) {text}" for label, text in lettered)]

    def _request(self) -> str:
        if self.wire.type == "noul":
            return f"Reply with one word, {self.labels[0]} or {self.labels[1]}."
        kind = "letter" if len(self.labels[0]) == 1 else "code"
        what = "level" if self.wire.type == "score" else "option"
        return f"Reply with nothing but the {kind} of the right {what}."


def read_questions(questions: Mapping[str, DecisionQuestion]) -> list[Question]:
    """Raises InvalidRequest for criteria that don't suit the question's type."""
    return [_read(name, question) for name, question in questions.items()]


def as_text(content: Content | None) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def _read(name: str, wire: DecisionQuestion) -> Question:
    criteria, where = wire.criteria, f"questions.{name}.criteria"
    if wire.type == "noul":
        if criteria is not None and (not isinstance(criteria, dict) or not criteria.keys() <= {TRUE, FALSE}):
            raise _invalid(where, "say what true and false mean, {'true': ..., 'false': ...}, or leave it out")
        meanings = criteria if isinstance(criteria, dict) else {}
        descriptions = [meanings.get(TRUE), meanings.get(FALSE)]
        return Question(id=name, wire=wire, options=[TRUE, FALSE], descriptions=descriptions, labels=["Yes", "No"])
    if wire.type == "score":
        if not isinstance(criteria, list) or not MIN_LEVELS <= len(criteria) <= MAX_LEVELS:
            raise _invalid(where, f"a score needs a list of {MIN_LEVELS} to {MAX_LEVELS} levels, lowest first")
        options = [str(level) for level in range(len(criteria))]
        return Question(id=name, wire=wire, options=options, descriptions=[*criteria], labels=_labels(len(options)))
    if not isinstance(criteria, dict) or not 1 <= len(criteria) <= MAX_OPTIONS:
        raise _invalid(where, f"a choice needs an object of 1 to {MAX_OPTIONS} options: option -> description or null")
    options = list(criteria)
    return Question(
        id=name, wire=wire, options=options, descriptions=list(criteria.values()), labels=_labels(len(options))
    )


def _labels(num: int) -> list[str]:
    return [*LETTERS][:num] if num <= len(LETTERS) else CODES[:num]


def _titled(name: str, text: Content | None) -> str:
    return name if text is None else f"{name}: {as_text(text)}"


def _invalid(where: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{where}: {what}.", param=where, code="invalid_value")
