"""Socket folders come, go, and outlive no killed server for longer than the next start."""

from __future__ import annotations

import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from llmos_server.engine.socket_folder import socket_folder

KILLED = (
    "import os, signal\n"
    "from llmos_server.engine.socket_folder import socket_folder\n"
    "with socket_folder() as folder:\n"
    "    print(folder, flush=True)\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
)


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of this test's own."""
    folder = Path(tempfile.mkdtemp(dir="/tmp")) if len(str(tmp_path)) > 50 else tmp_path
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def test_it_is_private_and_removed() -> None:
    with socket_folder() as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        (folder / "c1").touch()
    assert not folder.exists()


def test_a_killed_servers_folder_is_swept_and_a_living_ones_is_not() -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert left.is_dir()
    with socket_folder() as first, socket_folder() as second:
        assert not left.exists()
        assert first.is_dir()
        assert second.is_dir()


def test_what_is_not_ours_stays(temporary: Path) -> None:
    other = temporary / "llmos-notes"
    other.mkdir()
    target = temporary / "target"
    target.mkdir()
    (target / "lock").touch()
    (temporary / "llmos-link").symlink_to(target)
    with socket_folder():
        assert other.is_dir()
        assert (target / "lock").exists()


def test_a_long_temporary_folder_is_not_used(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = temporary / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with socket_folder() as folder:
        assert folder.parent == Path("/tmp")
