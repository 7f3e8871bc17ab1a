"""The log as a file: rotation, other rotators, other processes, a full disk."""

from __future__ import annotations

import json
import logging
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_server.errors import SettingsError
from llmos_server.log_file import LogFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "llmos.log"


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    logger = logging.Logger("test")
    yield logger
    for handler in logger.handlers:
        handler.close()


def test_it_is_made_for_its_owner_alone(path: Path, log: logging.Logger) -> None:
    log.addHandler(LogFile(path))
    log.warning("hello \ud800 é")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "hello \\ud800 é\n"


def test_files_that_are_there_already_are_made_private(path: Path, log: logging.Logger) -> None:
    path.parent.mkdir()
    rotated = path.with_name("llmos.log.2")
    for file in (path, rotated):
        file.write_text("before\n")
        file.chmod(0o644)
    log.addHandler(LogFile(path, max_bytes=100, backups=2))
    assert [stat.S_IMODE(file.stat().st_mode) for file in (path, rotated)] == [0o600, 0o600]
    path.rename(path.with_name("moved"))
    path.touch(0o644)  # As logrotate's "create 0644" does.
    path.chmod(0o644)
    log.warning("after")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "after\n"


@pytest.mark.parametrize("name", ["llmos.log", "llmos.log.1"])
def test_a_file_that_cannot_be_made_private_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Another user's, which only root can make: so the system's answer is played."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    path.parent.mkdir()
    path.with_name(name).touch()
    path.with_name(name).chmod(0o666)
    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(SettingsError, match=r"is 0666 and can't be set to 0600.*remove it\); choose another"):
        LogFile(path, max_bytes=100, backups=1)


def test_a_pipe_keeps_its_mode(tmp_path: Path, log: logging.Logger) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o622)
    pipe.chmod(0o622)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    log.addHandler(LogFile(pipe))
    log.warning("hello")
    assert os.read(reader, 100) == b"hello\n"
    os.close(reader)
    assert stat.S_IMODE(pipe.stat().st_mode) == 0o622


def test_it_is_rotated_before_it_is_too_large(path: Path, log: logging.Logger) -> None:
    log.addHandler(LogFile(path, max_bytes=100, backups=2))
    for number in range(40):
        log.warning("line %02d", number)
    files = [path.with_name("llmos.log.2"), path.with_name("llmos.log.1"), path]
    assert sorted(path.parent.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 100 and stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)
    kept = "".join(file.read_text() for file in files).splitlines()
    assert kept == [f"line {number:02d}" for number in range(40)][-len(kept) :]


def test_what_another_process_wrote_counts(path: Path, log: logging.Logger) -> None:
    log.addHandler(LogFile(path, max_bytes=100, backups=1))
    log.warning("mine")
    with path.open("a") as other:
        other.write("x" * 90 + "\n")
    log.warning("more")
    assert path.read_text() == "more\n"


def test_it_follows_the_name_when_others_rotate(path: Path, log: logging.Logger) -> None:
    log.addHandler(LogFile(path))
    log.warning("one")
    path.rename(path.with_name("old"))
    log.warning("two")
    path.unlink()
    log.warning("three")
    path.unlink()
    path.parent.joinpath("old").unlink()
    path.parent.rmdir()
    log.warning("four")
    assert path.read_text() == "four\n"
    path.write_text("")  # logrotate's copytruncate
    log.warning("five")
    assert path.read_text() == "five\n"


def test_a_path_that_cannot_be_written_is_told_at_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"log\.file"):
        LogFile(tmp_path / "file" / "log")
    with pytest.raises(SettingsError, match=r"log\.file"):
        LogFile(tmp_path)


def test_a_full_disk_loses_lines_and_nothing_else(log: logging.Logger, capfd, tmp_path: Path) -> None:
    """/dev/full refuses every write as a full disk does."""
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    log.addHandler(LogFile(path))
    for _ in range(3):
        log.warning("lost")
    assert capfd.readouterr().err == f"llmos: {path} can't be written; log lines are lost until it can.\n"
    path.unlink()
    log.warning("kept")
    assert path.read_text() == "kept\n"
    assert capfd.readouterr().err == f"llmos: {path} can be written again.\n"


WRITER = """
import sys
from pathlib import Path
from llmos_server.logs import configure_logging
from llmos_server.settings import LogSettings
import logging
path, name, rotates = sys.argv[1:]
configure_logging(LogSettings(file=path, max_bytes=20_000, backups=100), rotates=rotates == "yes")
for number in range(500):
    logging.getLogger(name).warning("%d %s", number, "x" * (number % 50))
"""


def test_processes_share_it_and_no_line_is_lost_or_torn(path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, rotates])
        for name, rotates in (("api", "yes"), ("worker-1", "no"), ("worker-2", "no"))
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    events = [json.loads(line) for file in path.parent.iterdir() for line in file.read_text().splitlines()]
    assert len(list(path.parent.iterdir())) > 2
    for name in ("api", "worker-1", "worker-2"):
        numbers = [int(event["event"].split()[0]) for event in events if event["logger"] == name]
        assert sorted(numbers) == list(range(500))
