"""Put a backup in place of a home's state. Everything is checked before anything is replaced."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tarfile
import time
from contextlib import closing
from pathlib import Path

import msgspec
from sqlalchemy import create_engine

from llmos_server.backup.archive import (
    ADAPTERS,
    BLOB,
    CHUNK_BYTES,
    CONFIG,
    DATABASE,
    FILES,
    FORMAT,
    LINK_TARGET,
    MANIFEST,
    HashingReader,
    Manifest,
    Member,
    is_allowed,
    is_allowed_link,
)
from llmos_server.backup.create import require_sqlite
from llmos_server.errors import SettingsError
from llmos_server.settings import Settings
from llmos_server.store.locks import file_lock, nobody_serves
from llmos_server.store.migrate import is_current

MAX_MANIFEST_BYTES = 64 * 2**20


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    manifest: Manifest
    aside: Path
    """Where what was there before is now."""
    missing_blobs: list[str]
    """Weights that restored models need and that are neither in the backup nor here."""


def restore_backup(settings: Settings, source: Path) -> Restored:
    """Raises SettingsError while a server uses the home, or when the backup isn't whole; nothing was changed then."""
    require_sqlite(settings)
    home = settings.home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = home / f".restore-{os.getpid()}"
    with nobody_serves(home), file_lock(home / "locks" / "database.lock"):
        try:
            staging.mkdir(mode=0o700)
            manifest = _unpack(source, staging)
            _check_database(staging / DATABASE)
            aside = _swap(home, staging, manifest)
        except (OSError, tarfile.TarError, sqlite3.Error) as error:
            raise SettingsError(f"{source}: can't be restored ({error}).") from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    needed = {match[1] for target in manifest.links.values() if (match := LINK_TARGET.fullmatch(target))}
    missing = sorted(blob for blob in needed if not (home / blob).is_file())
    return Restored(manifest=manifest, aside=aside, missing_blobs=missing)


def _unpack(source: Path, staging: Path) -> Manifest:
    if shutil.disk_usage(staging).free < source.stat().st_size:
        raise SettingsError(f"The disk of {staging.parent} has no room for {source}.")
    found: dict[str, Member] = {}
    manifest: Manifest | None = None
    with tarfile.open(source, "r:") as tar:
        for info in tar:
            content = tar.extractfile(info) if info.isreg() else None
            if content is None or info.name in found or not (info.name == MANIFEST or is_allowed(info.name)):
                raise _refused(source, f"it holds {info.name!r}, which no backup does")
            if info.name == MANIFEST:
                manifest = _read_manifest(source, content.read(MAX_MANIFEST_BYTES))
            else:
                found[info.name] = _write(HashingReader(content), staging / info.name)
    if manifest is None:
        raise _refused(source, "its manifest is missing; it was cut, or is no backup")
    _check(source, manifest, found)
    for place, target in manifest.links.items():
        (staging / place).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (staging / place).symlink_to(target)
    return manifest


def _read_manifest(source: Path, content: bytes) -> Manifest:
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError:
        raise _refused(source, "its manifest can't be read") from None
    if manifest.format != FORMAT:
        raise _refused(source, f"it has another format; restore it with the LLMOS that made it, {manifest.version}")
    return manifest


def _check(source: Path, manifest: Manifest, found: dict[str, Member]) -> None:
    for name in sorted(manifest.members.keys() | found.keys()):
        blob = BLOB.fullmatch(name)
        if found.get(name) != manifest.members.get(name) or (blob and found[name].sha256 != blob[1]):
            raise _refused(source, f"{name} is missing, or is not what was backed up")
    for place, target in manifest.links.items():
        if not is_allowed_link(place, target) or place in found:
            raise _refused(source, f"its link {place!r} leads to {target!r}")


def _refused(source: Path, reason: str) -> SettingsError:
    return SettingsError(f"{source} is not restored: {reason}. Nothing was changed.")


def _write(reader: HashingReader, path: Path) -> Member:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while chunk := reader.read(CHUNK_BYTES):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return reader.member


def _check_database(path: Path) -> None:
    """Whole, and not of a newer LLMOS; an older one is migrated when it is next used."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("PRAGMA integrity_check").fetchone()[0]
    if found != "ok":
        raise SettingsError(f"The backup's database is damaged ({found}). Nothing was changed.")
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        is_current(connection, "in the backup")
    engine.dispose()


def _swap(home: Path, staging: Path, manifest: Manifest) -> Path:
    """What is there goes aside before the new comes, so whatever stops this, nothing is lost."""
    aside = home / time.strftime("before-restore-%Y%m%d-%H%M%S", time.gmtime())
    aside.mkdir(mode=0o700)
    replaced = [CONFIG] if CONFIG in manifest.members else []
    if DATABASE in manifest.members:
        replaced += [f"{DATABASE}-wal", f"{DATABASE}-shm", DATABASE, FILES, ADAPTERS]
    if (staging / "models").exists():
        replaced.append("models")
    for name in replaced:
        if os.path.lexists(home / name):
            os.rename(home / name, aside / name)
    for name in (DATABASE, FILES, ADAPTERS, CONFIG, "models"):
        if (staging / name).exists():
            os.rename(staging / name, home / name)
    if (staging / "blobs").exists():
        (home / "blobs").mkdir(mode=0o700, exist_ok=True)
        for path in (staging / "blobs").iterdir():
            if not (home / "blobs" / path.name).exists():
                shutil.move(path, home / "blobs" / path.name)
    return aside
