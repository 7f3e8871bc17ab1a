"""Locks on files: other processes see them, and the system frees them when their holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llmos_server.errors import SettingsError

SERVE_LOCK = "serve.lock"


@contextmanager
def file_lock(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Raises BlockingIOError when another holds it and `wait` is False."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "wb") as file:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        yield


@contextmanager
def serving(home: Path) -> Iterator[None]:
    """Held by every `llmos serve`; several may share a home, for the database and the model library allow that."""
    try:
        with file_lock(home / SERVE_LOCK, shared=True, wait=False):
            yield
    except BlockingIOError:
        raise SettingsError(f"A restore into {home} is running. Start the server when it is done.") from None


@contextmanager
def nobody_serves(home: Path) -> Iterator[None]:
    """Held while files of the home are replaced. Raises SettingsError while a server uses it."""
    try:
        with file_lock(home / SERVE_LOCK, wait=False):
            yield
    except BlockingIOError:
        raise SettingsError(f"A server uses {home}. Stop it, and try again.") from None
