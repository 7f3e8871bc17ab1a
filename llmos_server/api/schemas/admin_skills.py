"""Wire structs of /admin/v1/skills."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from llmos_server.api.schemas.skills import SkillInfo
from llmos_server.api.skill_history import SkillError
from llmos_server.skill_contracts import SkillScore


class AdminSkill(SkillInfo, kw_only=True):
    enabled: bool
    """False: an administrator has disabled it."""
    is_switched_off: bool
    """For now, by the server itself: its last runs took too long."""
    scores: list[SkillScore]
    """The newest of each model, by any version of the skill."""
    last_errors: list[SkillError]
    runs: int
    """Since the server's start, as failures."""
    failures: int
    input_schema: dict[str, Any]


class AdminSkillList(Struct, kw_only=True):
    object: Literal["list"] = "list"
    data: list[AdminSkill]
