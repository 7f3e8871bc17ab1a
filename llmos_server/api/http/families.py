"""The APIs that live side by side, told apart by the begin of a path: each has its own form of an error."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Of URLs."""

    begin: str
    """The path itself, and all below it."""
    id_header: str | None = None
    """Where its clients look for a request's id, beside X-Request-Id."""


ANTHROPIC = Family("/v1/messages", id_header="Request-Id")
OLLAMA = Family("/api")
MCP = Family("/mcp")
OPENAI = Family("")
"""All else, LLMOS's own URLs, too."""

_OTHERS = (ANTHROPIC, OLLAMA, MCP)


def family_of(path: str) -> Family:
    """Slashes too many make no difference, as in routing."""
    path = re.sub("/+", "/", path)
    return next((one for one in _OTHERS if path == one.begin or path.startswith(f"{one.begin}/")), OPENAI)
