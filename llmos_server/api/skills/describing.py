"""A skill in a list."""

from __future__ import annotations

from typing import Any

from llmos_server.api.schemas.skills import SkillInfo
from llmos_server.plugins.loading import Offer
from llmos_server.skills.skill import Skill


def describe_skill(offer: Offer) -> SkillInfo:
    skill: Skill[Any, Any] = offer.value
    return SkillInfo(
        name=skill.name,
        version=skill.version,
        description=skill.description,
        plugin=offer.plugin,
        text_field=skill.text_field,
        model_kinds=sorted(skill.model_kinds, reverse=True),
        metric=skill.metric,
        minimum_score=skill.minimum_score,
    )
