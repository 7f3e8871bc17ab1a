"""Probabilities of a question's options as its typed answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llmos_server.api.decisions.decision_prompts import TRUE, Question
from llmos_server.api.schemas.systemone import ChoiceAnswer, DecisionAnswer, NoulAnswer, ScoreAnswer


def to_answer(question: Question, probabilities: Sequence[float]) -> DecisionAnswer:
    """probabilities: of the question's options, in order; they sum to 1."""
    by_option = dict(zip(question.options, probabilities, strict=True))
    match question.wire.type:
        case "noul":
            return NoulAnswer(noul=by_option[TRUE])
        case "score":
            descriptions = zip(question.options, question.descriptions, strict=True)
            return ScoreAnswer(
                score=math.fsum(level * probability for level, probability in enumerate(probabilities)),
                legend={option: text for option, text in descriptions if text is not None},
                probabilities=by_option,
                confidence=score_confidence(probabilities),
            )
        case _:
            best = max(by_option, key=by_option.__getitem__)
            return ChoiceAnswer(choice=best, probabilities=by_option, confidence=choice_confidence(probabilities))


def choice_confidence(probabilities: Sequence[float]) -> float:
    """How far the best option is above chance, of how far it could be (TypeSafe's formula)."""
    if len(probabilities) == 1:
        return 1.0
    chance = 1 / len(probabilities)
    return max(0.0, (max(probabilities) - chance) / (1 - chance))


def score_confidence(probabilities: Sequence[float]) -> float:
    """1 less the mean distance from the likeliest level, as a part of what it is from the middle if all levels are as
    likely (TypeSafe's formula)."""
    num = len(probabilities)
    mode = max(range(num), key=probabilities.__getitem__)
    distance = math.fsum(probability * abs(level - mode) for level, probability in enumerate(probabilities))
    spread = math.fsum(abs(level - (num - 1) / 2) for level in range(num)) / num
    return max(0.0, 1 - distance / spread)
