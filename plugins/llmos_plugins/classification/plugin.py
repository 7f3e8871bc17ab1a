"""The built-in plugin `classification`."""

from __future__ import annotations

from typing import Any

import msgspec

from llmos_plugins.classification.skill import Classification
from llmos_server import Skill, hookimpl

hook_api = "1.1"


class Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    model: str | None = None
    """Asked where a run names no model; None: the server's default."""


settings_type = Settings


@hookimpl
def register_skills(settings: Settings) -> list[Skill[Any, Any]]:
    return [Classification(settings.model)]
