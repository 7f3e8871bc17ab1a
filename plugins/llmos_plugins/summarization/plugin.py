"""The skill "summarization" as a plugin."""

from __future__ import annotations

from typing import Any

from llmos_plugins.summarization.skill import Summarization
from llmos_server import Skill, hookimpl

hook_api = "1.0"


@hookimpl
def register_skills() -> list[Skill[Any, Any]]:
    return [Summarization()]
