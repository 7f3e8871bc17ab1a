"""What became of skills' runs since the server's start: counts, and the last failures of each."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

from msgspec import Struct

from llmos_server.plugins.failures import FailureKind, place_of

MAX_ERRORS = 20
"""Of one skill."""
WHAT: dict[FailureKind, str] = {
    "raised": "failed",
    "timeout": "took longer than it may",
    "blocked": "took longer than it may, and blocks its thread",
    "invalid": "answered what it may not",
}


class SkillError(Struct, frozen=True, kw_only=True):
    """Without the exception's own words, which may hold a prompt; the log has them at the level debug."""

    time: float
    """Unix seconds."""
    kind: FailureKind
    type: str
    """The exception's."""
    text: str
    """What went wrong, and where in the plugin's code."""
    request_id: str


class SkillHistory:
    """Bounded by the number of skills, which is the plugins'."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.runs: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        """Those that were the skill's own fault."""
        self._errors: dict[str, deque[SkillError]] = {}
        self._clock = clock

    def begin(self, skill: str) -> None:
        self.runs[skill] += 1

    def fail(self, skill: str, kind: FailureKind, error: Exception, request_id: str) -> None:
        self.failures[skill] += 1
        where = place_of(error).get("at")
        told = SkillError(
            time=self._clock(),
            kind=kind,
            type=type(error).__name__,
            text=f"{WHAT[kind]} ({where})" if where else WHAT[kind],
            request_id=request_id,
        )
        self._errors.setdefault(skill, deque(maxlen=MAX_ERRORS)).append(told)

    def last_errors(self, skill: str) -> list[SkillError]:
        """The newest first."""
        return list(self._errors.get(skill, ()))[::-1]
