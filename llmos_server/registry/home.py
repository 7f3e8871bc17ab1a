"""Which LLMOS_HOME: a word that a server tells and a program on the same machine can compare with its own."""

from __future__ import annotations

import hashlib
from pathlib import Path


def home_id(home: Path) -> str:
    """16 hex digits of the folder's path and place on its disk, so that equal paths in two containers differ."""
    path = home.resolve()
    place = (path.stat().st_dev, path.stat().st_ino) if path.exists() else ()
    return hashlib.sha256(repr((str(path), place)).encode()).hexdigest()[:16]
