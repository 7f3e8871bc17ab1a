"""The built-in plugin `code`."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from llmos_plugins.code.skill import Code
from llmos_server import SandboxLimits, SandboxUnavailable, Skill, find_sandbox, hookimpl

hook_api = "1.0"
MIB = 2**20
LIMITS = SandboxLimits()


class Settings(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    model: str | None = None
    """Asked where a run names no model; None: the server's default."""
    sandbox: bool = False
    """Run code where clients ask for it. Where this machine can't hold it, the plugin doesn't start, and says why."""
    sandbox_seconds: Annotated[float, Meta(gt=0, le=600)] = LIMITS.seconds
    sandbox_memory_bytes: Annotated[int, Meta(ge=64 * MIB)] = LIMITS.memory_bytes
    sandbox_runs: Annotated[int, Meta(ge=1)] = 2
    """Programs at a time; others wait."""
    bwrap: str = ""
    """bubblewrap; else the one in PATH."""
    python: str = ""
    """What runs the code; else this server's own interpreter, or /usr/bin/python3."""


settings_type = Settings


@hookimpl
def register_skills(settings: Settings) -> list[Skill[Any, Any]]:
    if not settings.sandbox:
        return [Code(settings.model)]
    limits = SandboxLimits(seconds=settings.sandbox_seconds, memory_bytes=settings.sandbox_memory_bytes)
    try:
        sandbox = find_sandbox(limits, settings.sandbox_runs, settings.bwrap, settings.python)
    except SandboxUnavailable as error:
        raise SandboxUnavailable(f"{error}. Without one, set sandbox = false") from None
    return [Code(settings.model, sandbox)]
