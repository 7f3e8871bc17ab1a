"""Files under LLMOS_HOME: digests, atomic writes, locks, room."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmos_server.errors import PullCancelled, PullError
from llmos_server.registry.progress import Progress, Track, format_bytes

CHUNK_BYTES = 1 << 20
WATCH_SECONDS = 0.2
SPARE_BYTES = 64 * 2**20
"""Room that a pull leaves on the disk."""


def safe_name(name: str) -> str:
    """A folder name for a model name: readable, and different for different names."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:80]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def make_folder(path: Path) -> Path:
    """Create it and its parents, as far as they are missing, for the owner alone."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def fresh_folder(path: Path) -> Path:
    """The same, empty."""
    shutil.rmtree(path, ignore_errors=True)
    return make_folder(path)


def sha256_file(path: Path, progress: Progress, label: str) -> str:
    """64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file, progress.track(label, path.stat().st_size) as track:
        done = 0
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            track.update(done := done + len(chunk))
    return digest.hexdigest()


def write_atomic(path: Path, content: bytes) -> None:
    """The file holds the old content or the new, whatever happens. Readable by the owner alone."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def sync_file(path: Path) -> None:
    """Its content is on the disk before a name promises it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def require_space(folder: Path, needed: int, what: str) -> None:
    """Raises PullError, in plain words, when the disk of `folder` has no room for `needed` bytes."""
    free = shutil.disk_usage(folder).free
    if needed + SPARE_BYTES > free:
        raise PullError(
            f"{what} needs {format_bytes(needed + SPARE_BYTES)} on the disk of {folder}, where {format_bytes(free)} "
            "are free. Make room there, or set LLMOS_HOME to a folder on a larger disk."
        )


def is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def no_space(folder: Path, what: str) -> PullError:
    """For a disk that was found full only while it was written to."""
    free = shutil.disk_usage(folder).free
    return PullError(
        f"{what}: No space left on the disk of {folder}, where {format_bytes(free)} are free. Make room there, or set "
        "LLMOS_HOME to a folder on a larger disk, and pull again; nothing was left half done."
    )


def folder_bytes(folder: Path) -> int:
    """Bytes in all files below; what vanishes meanwhile counts nothing."""
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(root, name)).st_size
            except FileNotFoundError:
                continue
    return total


@contextmanager
def watch_folder(folder: Path, track: Track) -> Iterator[None]:
    """Report the size of a folder that another program or library fills."""
    done = threading.Event()

    def watch() -> None:
        with suppress(PullCancelled):  # Whoever fills the folder is told, too.
            while not done.wait(WATCH_SECONDS):
                track.update(folder_bytes(folder))

    thread = threading.Thread(target=watch, name="watch-folder", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        track.update(folder_bytes(folder))


@contextmanager
def file_lock(path: Path, progress: Progress | None = None, busy: str = "") -> Iterator[None]:
    """Hold a lock that other processes and threads see; the system frees it when its holder dies.

    busy: what to say before waiting for another holder.
    """
    make_folder(path.parent)
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if progress is not None:
                progress.say(busy)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
