"""The folder that holds a server's sockets: private, with a short path, swept away after a server that was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "llmos-"
MAX_SOCKET_PATH = 90
"""Unix allows about 100 bytes for a socket's path, its name included."""

_LOCK = "lock"
"""Held for as long as the owner lives, however it dies; who can take it has found a folder that nobody owns."""


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A new 0700 folder, removed at the end. Those that killed servers of this user left behind go first."""
    parent = _short_parent()
    _sweep(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = os.open(folder / "unlocked", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(folder / "unlocked", folder / _LOCK)  # So no sweep ever sees this lock free.
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _short_parent() -> Path:
    folder = Path(tempfile.gettempdir())
    is_short = len(str(folder).encode()) < MAX_SOCKET_PATH - len(f"/{PREFIX}xxxxxxxx/r99999999")
    return folder if is_short else Path("/tmp")


def _sweep(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # In use, another user's, or swept by another server just now.
            if folder.lstat().st_uid == os.getuid():
                _remove_if_free(folder)


def _remove_if_free(folder: Path) -> None:
    lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(lock)
