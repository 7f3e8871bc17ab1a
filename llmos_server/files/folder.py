"""The content of uploaded files, each under its id in LLMOS_HOME/files; the database knows what they are called, and
whose they are.

A file is there under its id only when it is whole and on the disk. What a crash leaves, an unfinished upload or content
without a row, is swept away.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llmos_server.errors import StorageFull

FOLDER = "files"
BUFFER_BYTES = 2**20
SWEEP_SECONDS = 3600.0
"""Content without a row stays so long: its row may be on its way."""

_ID = re.compile(r"file-[0-9a-f]{32}")
_UPLOAD = ".upload-"


class FileFolder:
    def __init__(self, home: Path) -> None:
        self.path = home / FOLDER

    def begin(self, file_id: str) -> Upload:
        """Raises StorageFull when the disk takes no more."""
        return Upload(self.path, file_id)

    def place(self, file_id: str) -> Path:
        """Raises ValueError for what is no id, so that no text of a client leads out of the folder."""
        if not _ID.fullmatch(file_id):
            raise ValueError(f"{file_id!r} is no id of a file")
        return self.path / file_id

    async def remove(self, file_id: str) -> None:
        """Nothing when it isn't there."""
        await asyncio.to_thread(self.place(file_id).unlink, missing_ok=True)

    def leftovers(self, known: Collection[str], now: float | None = None) -> list[Path]:
        """What nothing in the database leads to, and is old enough. known: all ids that have a row."""
        oldest = (time.time() if now is None else now) - SWEEP_SECONDS
        return [path for path in self._old_files(oldest) if path.name not in known]

    def _old_files(self, oldest: float) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            for entry in os.scandir(self.path):
                is_ours = _ID.fullmatch(entry.name) or entry.name.startswith(_UPLOAD)
                if is_ours and entry.is_file(follow_symlinks=False) and entry.stat().st_mtime < oldest:
                    yield Path(entry.path)


class Upload:
    """Content that arrives. Use it as an async context manager: what was not kept by its end is gone."""

    def __init__(self, folder: Path, file_id: str) -> None:
        self.id = file_id
        self.num_bytes = 0
        self._folder = folder
        self._unfinished = folder / f"{_UPLOAD}{file_id}"
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._file = -1
        self._in_use = threading.Lock()
        """Held by whichever thread works on the file: one whose waiter was cancelled goes on, and until it is done the
        descriptor must not be closed, and given to another file."""

    async def __aenter__(self) -> Upload:
        self._file = await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.shield(asyncio.to_thread(self._discard))

    async def write(self, data: bytes | bytearray) -> None:
        """Raises StorageFull when the disk takes no more."""
        self._buffer += data
        self.num_bytes += len(data)
        if len(self._buffer) >= BUFFER_BYTES:
            await asyncio.to_thread(self._flush)

    async def keep(self) -> str:
        """It is whole, and on the disk under its id when this returns: "sha256:..." of the content. Raises
        StorageFull."""
        await asyncio.to_thread(self._finish)
        return f"sha256:{self._digest.hexdigest()}"

    def _open(self) -> int:
        with _told():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self._unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def _flush(self) -> None:
        with self._in_use:
            self._write_buffer()

    def _write_buffer(self) -> None:
        data, self._buffer = self._buffer, bytearray()
        self._digest.update(data)
        rest = memoryview(data)
        with _told():
            while rest:
                rest = rest[os.write(self._file, rest) :]

    def _finish(self) -> None:
        with self._in_use, _told():
            self._write_buffer()
            os.fsync(self._file)
            os.rename(self._unfinished, self._folder / self.id)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _discard(self) -> None:
        with self._in_use, suppress(OSError):
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            self._unfinished.unlink(missing_ok=True)


@contextmanager
def _told() -> Iterator[None]:
    """The disk's refusals in words."""
    try:
        yield
    except OSError as error:
        raise StorageFull(f"The file can't be kept: {error.strerror}. Free space on the server's disk.") from error
