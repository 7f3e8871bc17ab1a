"""What a skill was measured at: a frozen noun that crosses folders. As contracts.py, without torch."""

from __future__ import annotations

import time
import uuid

import msgspec


class SkillScore(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation of one version of a skill with one model."""

    id: str = msgspec.field(default_factory=lambda: uuid.uuid4().hex)
    skill: str
    version: str
    model: str
    model_digest: str
    """Scores hold for these weights alone, whatever their name."""
    metric: str
    """The figure that counts."""
    score: float
    figures: dict[str, float]
    """All of them, that one included."""
    num_cases: int
    num_failed: int
    """Runs that gave no output; the figures count them."""
    created: int = msgspec.field(default_factory=lambda: time.time_ns() // 1_000_000)
    """Unix milliseconds."""
