"""LLMOS_HOME/admin.token: who can read this file may administer the server, from this machine, without a key.

It stands for "the same user of the same machine": its mode is 0600 and its owner the server's own user, or it is
refused.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from llmos_server.errors import SettingsError

PREFIX = "llmos-admin-"


def token_path(home: Path) -> Path:
    return home / "admin.token"


def ensure_admin_token(home: Path) -> str:
    """The file's token, a fresh random one where there is no file. Raises SettingsError for a file others can read."""
    path = token_path(home)
    if not path.exists():
        _create(path)
    token = read_admin_token(home)
    if token is None:
        raise SettingsError(f"{path} can't be read. Remove it; the next start makes a new one.")
    return token


def read_admin_token(home: Path) -> str | None:
    """None where there is none that this user can read. Raises SettingsError for one that isn't to be trusted."""
    path = token_path(home)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), encoding="ascii", errors="replace") as file:
            _check(path, os.fstat(file.fileno()))
            token = file.read(200).strip()
    except OSError:
        return None
    if not token.startswith(PREFIX) or len(token) < len(PREFIX) + 43:
        raise SettingsError(f"{path} holds no token. Remove it; the next `llmos serve` makes a new one.")
    return token


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077 or found.st_uid != os.geteuid():
        raise SettingsError(
            f"{path} must be a file of your own that nobody else can read (mode 0600). Others may know its token, "
            "so remove it; the next `llmos serve` makes a new one."
        )


def _create(path: Path) -> None:
    """Whole or not at all, also when two servers start at once: the first one's stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(f"{PREFIX}{secrets.token_urlsafe(32)}\n")
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()
