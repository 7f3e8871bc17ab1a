"""Make a backup, also while a server runs."""

from __future__ import annotations

import io
import os
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from llmos_server import __version__
from llmos_server.backup.archive import (
    ADAPTER,
    ADAPTERS,
    BLOB,
    CONFIG,
    DATABASE,
    FILES,
    FORMAT,
    MANIFEST,
    UPLOADED,
    HashingReader,
    Manifest,
    Member,
)
from llmos_server.errors import SettingsError, StoreUnavailable
from llmos_server.settings import Settings


def require_sqlite(settings: Settings) -> None:
    if settings.database.url:
        raise SettingsError(
            "The database is on PostgreSQL, whose own tools back it up: pg_dump --format=custom, and pg_restore. "
            "The models can be pulled again; config.toml is one file."
        )


def create_backup(settings: Settings, target: Path, *, with_weights: bool = False) -> Manifest:
    """The file is there whole, or not at all; it can be read by its owner alone.

    Raises SettingsError when it exists, can't be written, or the database is not SQLite.
    """
    require_sqlite(settings)
    if target.exists():
        raise SettingsError(f"{target} exists already. Name another file.")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    copy = target.with_name(f".{target.name}.{os.getpid()}.db")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                manifest = _fill(tar, settings.home, copy, with_weights)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, target)  # Unlike a rename, this never replaces a file that came meanwhile.
    except (OSError, sqlite3.Error) as error:
        raise SettingsError(f"{target}: the backup can't be written ({error}).") from None
    finally:
        temporary.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)
    return manifest


def _fill(tar: tarfile.TarFile, home: Path, copy: Path, with_weights: bool) -> Manifest:
    members: dict[str, Member] = {}
    links: dict[str, str] = {}
    if (home / DATABASE).exists():
        copy_database(home / DATABASE, copy)
        members[DATABASE] = _add(tar, DATABASE, copy)
    for path in _files(home / FILES):
        if UPLOADED.fullmatch(name := f"{FILES}/{path.name}"):
            with suppress(FileNotFoundError):  # Deleted since the database was copied.
                members[name] = _add(tar, name, path)
    for path in _files(home / ADAPTERS):
        if ADAPTER.fullmatch(name := path.relative_to(home).as_posix()):
            with suppress(FileNotFoundError):
                members[name] = _add(tar, name, path)
    if (home / CONFIG).is_file():
        members[CONFIG] = _add(tar, CONFIG, home / CONFIG)
    for path in _files(home / "models"):
        name = f"models/{path.relative_to(home / 'models').as_posix()}"
        if path.is_symlink():
            links[name] = os.readlink(path)
        else:
            members[name] = _add(tar, name, path)
    for path in _files(home / "blobs") if with_weights else ():
        if BLOB.fullmatch(name := f"blobs/{path.name}"):
            members[name] = _add(tar, name, path)
    manifest = Manifest(format=FORMAT, version=__version__, created=int(time.time()), members=members, links=links)
    content = msgspec.json.format(msgspec.json.encode(manifest))
    tar.addfile(_info(MANIFEST, len(content)), io.BytesIO(content))
    return manifest


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy in one file; writers go on meanwhile. Raises StoreUnavailable for a damaged database."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(source)) as origin, closing(sqlite3.connect(target)) as copy:
        origin.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
        found = copy.execute("PRAGMA integrity_check").fetchone()[0]
    if found != "ok":
        raise StoreUnavailable(f"The database {source} is damaged ({found}). Restore an older backup.")


def _files(folder: Path) -> Iterator[Path]:
    """Files and links below, sorted; the folder itself may be a link."""
    for root, _, names in sorted(os.walk(folder)):
        yield from (Path(root, name) for name in sorted(names))


def _add(tar: tarfile.TarFile, name: str, path: Path) -> Member:
    with path.open("rb") as file:
        reader = HashingReader(file)
        tar.addfile(_info(name, os.fstat(file.fileno()).st_size), reader)
    return reader.member


def _info(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(time.time())
    return info
