"""The built-in plugin `classification`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from llmos_plugins.classification.skill import Classification
from llmos_server import Command, Skill, hookimpl

hook_api = "1.0"


class Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    model: str | None = None
    """Asked where a run names no model; None: the server's default."""
    calibrations: list[str] = []
    """Files that `llmos calibrate-labels` has written, for models beside the default one."""


settings_type = Settings


@hookimpl
def register_skills(settings: Settings) -> list[Skill[Any, Any]]:
    paths = [Path(path).expanduser() for path in settings.calibrations]
    return [Classification(settings.model, paths)]


@hookimpl
def register_commands() -> list[Command]:
    from llmos_plugins.classification.command import run  # For the program alone: the server needs none of it.

    return [Command(name="calibrate-labels", run=run)]
