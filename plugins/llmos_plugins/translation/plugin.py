"""The skill "translation" as a plugin."""

from __future__ import annotations

from typing import Any

from llmos_plugins.translation.skill import Translation
from llmos_server import Skill, hookimpl

hook_api = "1.0"


@hookimpl
def register_skills() -> list[Skill[Any, Any]]:
    return [Translation()]
