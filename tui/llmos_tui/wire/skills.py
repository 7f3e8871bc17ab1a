"""Skills: /admin/v1/skills, and the events of a run."""

from __future__ import annotations

from typing import Any

from llmos_tui.wire.common import Wire
from llmos_tui.wire.models import ErrorBody


class Score(Wire, frozen=True, kw_only=True):
    """What an evaluation of one version with one model came to."""

    version: str = ""
    model: str = ""
    metric: str = ""
    score: float = 0.0
    num_cases: int = 0
    num_failed: int = 0


class SkillError(Wire, frozen=True, kw_only=True):
    """A run that failed by the skill's fault."""

    time: float = 0.0
    type: str = ""
    text: str = ""
    request_id: str = ""


class Skill(Wire, frozen=True, kw_only=True):
    """is_switched_off: for now, by the server itself. scores: the newest of each model. runs: since the start."""

    name: str
    version: str = ""
    plugin: str = ""
    description: str = ""
    text_field: str = ""
    model_kinds: list[str] = []
    metric: str = ""
    minimum_score: float | None = None
    enabled: bool = True
    is_switched_off: bool = False
    scores: list[Score] = []
    last_errors: list[SkillError] = []
    runs: int = 0
    failures: int = 0
    input_schema: dict[str, Any] = {}


class SkillList(Wire, frozen=True, kw_only=True):
    """All of them, disabled ones, too."""

    data: list[Skill] = []


class SkillUsage(Wire, frozen=True, kw_only=True):
    """Tokens of all that the model was asked."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


class SkillResult(Wire, frozen=True, kw_only=True):
    """What a run answers. below_minimum: this model was measured below what the skill's author asks for."""

    model: str = ""
    result: Any = None
    details: dict[str, Any] = {}
    usage: SkillUsage = SkillUsage()
    score: float | None = None
    minimum_score: float | None = None
    below_minimum: bool = False


class SkillEvent(Wire, frozen=True, kw_only=True):
    """type: "progress", "text" or "result"."""

    type: str = ""
    done: float | None = None
    total: float | None = None
    note: str = ""
    text: str = ""
    result: SkillResult | None = None
    error: ErrorBody | None = None
