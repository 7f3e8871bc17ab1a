"""All keys as a list."""

from __future__ import annotations

from llmos_tui import words
from llmos_tui.widgets.rows import Column, Look, Rows
from llmos_tui.wire.keys import Key


def state(key: Key) -> str:
    return "revoked" if key.revoked is not None else "admin" if key.is_admin else "living"


def _look(key: Key) -> Look:
    return "muted" if key.revoked is not None else "warn" if key.is_admin else "plain"


def allowed(names: list[str] | None) -> str:
    """all, none, or the names."""
    return "all" if names is None else ", ".join(names) or "none"


def limit(value: int | None) -> str:
    return "-" if value is None else words.count(value)


def day(seconds: int | None) -> str:
    """Without the time of day."""
    return "never" if seconds is None else words.moment(seconds)[:10]


COLUMNS: tuple[Column[Key], ...] = (
    Column("NAME", lambda key: key.name, 14, share=1, look=_look),
    Column("STATE", state, 7, look=_look),
    Column("AT ONCE", lambda key: limit(key.max_in_flight), 7, is_right=True),
    Column("TOK/MIN", lambda key: limit(key.tokens_per_minute), 7, is_right=True),
    Column("LAST USED", lambda key: day(key.last_used), 10),
    Column("MODELS", lambda key: allowed(key.models), 10, share=1),
    Column("SKILLS", lambda key: allowed(key.skills), 8, share=1, drop=2),
    Column("TOOLS", lambda key: allowed(key.tools), 8, share=1, drop=3),
    Column("MADE", lambda key: day(key.created), 10, drop=1),
    Column("ID", lambda key: key.id, 10, drop=4),
)


class KeyTable(Rows[Key]):
    """Living ones first."""

    def __init__(self) -> None:
        super().__init__(COLUMNS, lambda key: key.id, "There are no keys. n makes one.", id="keys")

    def show_keys(self, keys: list[Key]) -> None:
        self.show(sorted(keys, key=lambda key: (key.revoked is not None, -key.created)))
