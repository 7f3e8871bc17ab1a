"""A disk without room: an error that says so, nothing half done, and a pull that works once there is room.

A real small disk: a tmpfs, which only root can mount; elsewhere these tests are skipped.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_server.errors import ModelNotFound, PullError
from llmos_server.log_file import LogFile
from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.registry import Registry

SIZE = 6 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves so many bytes."""
    path = disk / "filler"
    status = os.statvfs(disk)
    path.write_bytes(b"x" * (status.f_bavail * status.f_frsize - leave))
    return path


@pytest.mark.real_model
@pytest.mark.parametrize("leave", [0, 4096, 65536, 2**20])
def test_a_pull_onto_a_full_disk(small_disk: Path, smollm2_gguf: Path, leave: int) -> None:
    registry = Registry(small_disk / "home", {}, 2.0, hub_endpoint="http://127.0.0.1:9")
    name = f"file:{smollm2_gguf}"
    filler = fill(small_disk, leave)
    with pytest.raises(PullError) as caught:
        registry.pull(name, QuietProgress())
    assert "No space left on the disk of " + str(small_disk / "home") in str(caught.value)
    assert "are free" in str(caught.value)
    assert registry.list() == []
    with pytest.raises(ModelNotFound):
        registry.get(name)
    filler.unlink()
    version = registry.pull(name, QuietProgress())
    assert [found.name for found in registry.list()] == [version.name]


def test_the_log_of_a_full_disk(small_disk: Path, capfd) -> None:
    import logging

    path = small_disk / "llmos.log"
    logger = logging.Logger("test")
    logger.addHandler(LogFile(path))
    logger.warning("before")
    filler = fill(small_disk, 0)
    for _ in range(5000):
        logger.warning("x" * 100)
    assert "can't be written" in capfd.readouterr().err
    filler.unlink()
    logger.warning("after")
    assert path.read_text().endswith("after\n")
    logger.handlers[0].close()
