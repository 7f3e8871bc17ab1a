"""What answers typed questions has in common, whatever kind of model does it."""

from __future__ import annotations

from dataclasses import dataclass

from llmos_server.api.decisions.decision_prompts import Question


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Of each question in order, a number for each of its options: log-probabilities but for a constant."""

    questions: list[Question]
    scores: list[list[float]]
    model_digest: str
    num_tokens: int
    num_cached_tokens: int = 0
