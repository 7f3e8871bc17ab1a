"""Keys of the server: /admin/v1/keys."""

from __future__ import annotations

from llmos_tui.wire.common import Wire


class Key(Wire, frozen=True, kw_only=True):
    """Times are Unix seconds. A list that is None allows all, a limit that is None is none."""

    id: str
    name: str = ""
    is_admin: bool = False
    models: list[str] | None = None
    skills: list[str] | None = None
    tools: list[str] | None = None
    max_in_flight: int | None = None
    tokens_per_minute: int | None = None
    created: int = 0
    revoked: int | None = None
    last_used: int | None = None
    key: str | None = None
    """What its owner sends; in the answer that creates it, and never again."""


class KeyList(Wire, frozen=True, kw_only=True):
    """All of them, revoked ones, too."""

    data: list[Key] = []
