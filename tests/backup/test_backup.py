"""Backup and restore: a copy of a home in use, and the same home again."""

from __future__ import annotations

import asyncio
import io
import os
import sqlite3
import stat
import tarfile
import threading
from pathlib import Path

import msgspec
import pytest

from llmos_server.access.admin_token import ensure_admin_token
from llmos_server.access.keys import make_key
from llmos_server.backup.archive import Manifest, is_allowed, is_allowed_link
from llmos_server.backup.create import create_backup
from llmos_server.backup.restore import restore_backup
from llmos_server.errors import SettingsError, StoreUnavailable
from llmos_server.settings import DatabaseSettings, Settings
from llmos_server.store.locks import serving
from llmos_server.store.store import open_store

BLOB = "blobs/sha256-9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
"""Of the content "test"."""
UPLOADED = f"files/file-{'a' * 32}"
ADAPTER = f"adapters/{'b' * 64}/adapter_model.safetensors"
WEIGHTS = "models/tiny-1/abc/weights/tiny.gguf"


def add_key(settings: Settings, name: str) -> str:
    stored, text = make_key(name, 1)

    async def add() -> None:
        async with open_store(settings) as store:
            await store.keys.add(stored)

    asyncio.run(add())
    return text


def key_names(settings: Settings) -> list[str]:
    async def read() -> list[str]:
        async with open_store(settings) as store:
            return sorted(key.name for key in await store.keys.list())

    return asyncio.run(read())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home with a key, a model with weights, a config and an administrator's token."""
    home = tmp_path / "home"
    settings = Settings(home=home)
    add_key(settings, "laptop")
    ensure_admin_token(home)
    (home / "config.toml").write_text("[api]\nport = 8123\n")
    (home / "blobs").mkdir()
    (home / "files").mkdir()
    (home / UPLOADED).write_text("uploaded")
    (home / ADAPTER).parent.mkdir(parents=True)
    (home / ADAPTER).write_text("adapted")
    (home / "adapters/.staging-1").mkdir()
    (home / "adapters/.staging-1/adapter_model.safetensors").write_text("unfinished")
    (home / "files/.upload-1").write_text("unfinished")
    (home / BLOB).write_text("test")
    (home / WEIGHTS).parent.mkdir(parents=True)
    (home / WEIGHTS).symlink_to(Path("../../../../") / BLOB)
    (home / "models/tiny-1/manifest.json").write_text("{}")
    return settings


@pytest.fixture
def backup(settings: Settings, tmp_path: Path) -> Path:
    create_backup(settings, tmp_path / "b.tar", with_weights=True)
    return tmp_path / "b.tar"


def names(path: Path) -> set[str]:
    with tarfile.open(path) as tar:
        return set(tar.getnames())


def test_what_is_in_it(settings: Settings, backup: Path, tmp_path: Path) -> None:
    assert names(backup) == {
        "llmos.db",
        UPLOADED,
        ADAPTER,
        "config.toml",
        "models/tiny-1/manifest.json",
        BLOB,
        "manifest.json",
    }
    create_backup(settings, tmp_path / "light.tar")
    assert BLOB not in names(tmp_path / "light.tar")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "home", "light.tar"]


def test_it_holds_no_secret(settings: Settings, tmp_path: Path) -> None:
    key = add_key(settings, "second")
    token = ensure_admin_token(settings.home)
    create_backup(settings, tmp_path / "b.tar", with_weights=True)
    content = (tmp_path / "b.tar").read_bytes()
    assert b"second" in content
    assert key[-43:].encode() not in content
    assert token.encode() not in content


def test_a_home_comes_back(settings: Settings, backup: Path) -> None:
    home = settings.home
    add_key(settings, "later")
    (home / "config.toml").write_text("[api]\nport = 1\n")
    (home / BLOB).unlink()
    (home / UPLOADED).unlink()
    (home / ADAPTER).unlink()
    (home / "files/file-later").write_text("later")
    done = restore_backup(settings, backup)
    assert key_names(settings) == ["laptop"]
    assert "8123" in (home / "config.toml").read_text()
    assert (home / WEIGHTS).read_text() == "test"
    assert [path.name for path in (home / "files").iterdir()] == [Path(UPLOADED).name]
    assert (home / ADAPTER).read_text() == "adapted"
    assert (done.aside / "files/file-later").exists()
    assert done.missing_blobs == []
    assert "port = 1\n" in (done.aside / "config.toml").read_text()
    assert key_names(Settings(home=done.aside)) == ["laptop", "later"]
    assert not list(home.glob(".restore-*"))


def test_into_an_empty_home_without_weights(settings: Settings, tmp_path: Path) -> None:
    create_backup(settings, tmp_path / "light.tar")
    fresh = Settings(home=tmp_path / "fresh")
    done = restore_backup(fresh, tmp_path / "light.tar")
    assert key_names(fresh) == ["laptop"]
    assert done.missing_blobs == [BLOB]


def test_while_another_writes(settings: Settings, tmp_path: Path) -> None:
    """A consistent copy: both rows of each transaction, or none."""
    database = sqlite3.connect(settings.home / "llmos.db", isolation_level=None, check_same_thread=False)
    database.execute("CREATE TABLE pairs (n INTEGER)")
    stop, begun = threading.Event(), threading.Event()

    def write() -> None:
        for n in range(100_000):
            if stop.is_set():
                return
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT INTO pairs VALUES (?)", (n,))
            database.execute("INSERT INTO pairs VALUES (?)", (n,))
            database.execute("COMMIT")
            begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    begun.wait()
    for n in range(5):
        create_backup(settings, tmp_path / f"{n}.tar")
    stop.set()
    writer.join()
    database.close()
    for n in range(5):
        copy = Settings(home=tmp_path / f"copy{n}")
        restore_backup(copy, tmp_path / f"{n}.tar")
        with sqlite3.connect(copy.home / "llmos.db") as found:
            counts = found.execute("SELECT DISTINCT c FROM (SELECT COUNT(*) c FROM pairs GROUP BY n)").fetchall()
        found.close()
        assert counts == [(2,)]


def test_not_while_a_server_uses_the_home(settings: Settings, backup: Path) -> None:
    with serving(settings.home), serving(settings.home), pytest.raises(SettingsError, match="server uses"):
        restore_backup(settings, backup)
    restore_backup(settings, backup)


def test_an_existing_file_stays(settings: Settings, backup: Path) -> None:
    before = backup.read_bytes()
    with pytest.raises(SettingsError, match="exists"):
        create_backup(settings, backup)
    assert backup.read_bytes() == before


def test_postgresql_is_refused_with_its_own_tool(settings: Settings, tmp_path: Path, backup: Path) -> None:
    other = Settings(home=settings.home, database=DatabaseSettings(url="postgresql://u@h/x"))
    for call in (lambda: create_backup(other, tmp_path / "p.tar"), lambda: restore_backup(other, backup)):
        with pytest.raises(SettingsError, match="pg_dump"):
            call()


def rewrite(path: Path, change) -> None:
    """The same tar, after change(members) on (TarInfo, content) pairs."""
    with tarfile.open(path) as tar:
        members = [(info, tar.extractfile(info).read()) for info in tar]
    members = change(members)
    with tarfile.open(path, "w") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def added(name: str, kind: bytes = tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return lambda members: [(info, b""), *members]


def with_link(place: str, target: str):
    def change(members):
        info, content = members[-1]
        manifest = msgspec.json.decode(content, type=Manifest)
        return [*members[:-1], (info, msgspec.json.encode(msgspec.structs.replace(manifest, links={place: target})))]

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(added("../outside"), id="up"),
        pytest.param(added("/tmp/outside"), id="absolute"),
        pytest.param(added("models/../../outside"), id="up within"),
        pytest.param(added("admin.token"), id="another file"),
        pytest.param(added("models/x", tarfile.SYMTYPE), id="a link"),
        pytest.param(added("models/x", tarfile.LNKTYPE), id="a hard link"),
        pytest.param(added("models/x", tarfile.FIFOTYPE), id="a pipe"),
        pytest.param(added("models/unknown"), id="not in the manifest"),
        pytest.param(with_link("models/a/b/weights/w", "../../../../../etc/passwd"), id="a link outside"),
        pytest.param(with_link("models/a", f"../../../../{BLOB}"), id="a link elsewhere"),
        pytest.param(lambda members: members[:-1], id="no manifest"),
        pytest.param(lambda members: members[1:], id="a member is missing"),
        pytest.param(lambda members: [*members, members[0]], id="a member twice"),
        pytest.param(lambda members: [(i, c.replace(b"8123", b"8124")) for i, c in members], id="changed"),
        pytest.param(lambda members: [*members[:-1], (members[-1][0], b"{}")], id="a broken manifest"),
    ],
)
def test_what_is_not_a_whole_backup_changes_nothing(settings: Settings, backup: Path, tmp_path: Path, change) -> None:
    rewrite(backup, change)
    before = {path: os.lstat(path).st_mtime_ns for path in settings.home.rglob("*") if path.is_file()}
    with pytest.raises(SettingsError):
        restore_backup(settings, backup)
    after = {path: os.lstat(path).st_mtime_ns for path in settings.home.rglob("*") if path.is_file()}
    assert {p: t for p, t in after.items() if "locks" not in p.parts and p.suffix != ".lock"} == {
        p: t for p, t in before.items() if "locks" not in p.parts and p.suffix != ".lock"
    }
    assert not (tmp_path / "outside").exists()


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\x00" * 2048])
def test_what_is_no_tar(settings: Settings, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(SettingsError, match="restored"):
        restore_backup(settings, tmp_path / "x")
    with pytest.raises(SettingsError, match="No such file"):
        restore_backup(settings, tmp_path / "nowhere")


def test_a_newer_database_is_refused(settings: Settings, tmp_path: Path) -> None:
    with sqlite3.connect(settings.home / "llmos.db") as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    create_backup(settings, tmp_path / "b.tar")
    with pytest.raises(StoreUnavailable, match="newer LLMOS"):
        restore_backup(Settings(home=tmp_path / "other"), tmp_path / "b.tar")
    assert not (tmp_path / "other" / "llmos.db").exists()


def test_names_that_lead_outside() -> None:
    assert is_allowed("models/a/b.json")
    assert is_allowed_link("models/a/b/weights/w.gguf", f"../../../../{BLOB}")
    for name in ("models", "models/", "models//a", "models/./a", "models/a/..", "", ".", "blobs/x", "llmos.db-wal"):
        assert not is_allowed(name), name
