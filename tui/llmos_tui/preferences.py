"""What is remembered from one start to the next: a small JSON file."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Preferences(msgspec.Struct, kw_only=True):
    """All that is remembered."""

    theme: str = "llmos-dark"


def load_preferences(path: Path | None) -> Preferences:
    """The defaults, where there is no file or one that can't be read: a broken one keeps nobody out."""
    if path is None:
        return Preferences()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Preferences)
    except (OSError, msgspec.MsgspecError):
        return Preferences()


def save_preferences(path: Path | None, preferences: Preferences) -> None:
    """Raises OSError. path None: nothing is remembered."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".new")
    half.write_bytes(msgspec.json.encode(preferences) + b"\n")
    half.replace(path)
