"""The compiled kernels' cache: built once, private, and never the reason why a model isn't served."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from llmos_server.errors import KernelsUnavailable
from llmos_server.kernels.native import build
from llmos_server.kernels.native.library import Library

COMPILER = """#!{python}
import pathlib, sys
if "--version" in sys.argv:
    print("fake 1.0")
else:
    with open({log!r}, "a") as log:
        log.write(" ".join(sys.argv[1:]) + chr(10))
    if {fails}:
        sys.exit("this compiler is broken")
    pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_text("object")
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Stands in for the compiler; returns its log."""

    def install(*, fails: bool = False) -> Path:
        log, path = tmp_path / "log", tmp_path / "c++"
        path.write_text(COMPILER.format(python=sys.executable, log=str(log), fails=fails))
        path.chmod(0o700)
        monkeypatch.setenv("CXX", str(path))
        return log

    return install


def test_it_is_built_once_and_by_nobody_elses_hand(fake, tmp_path: Path) -> None:
    log, cache = fake(), tmp_path / "home" / "kernels"
    library = build.find_or_build(cache)
    assert library.read_text() == "object"
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert build.find_or_build(cache) == library
    commands = log.read_text().splitlines()
    assert len(commands) == len(build.units()) + 1
    linked = commands[-1].split()
    assert linked.index(next(part for part in linked if part.endswith("backend_plain.o"))) == 4  # -shared, -pthread ...
    assert sorted(path.name for path in cache.iterdir()) == [library.name, "lock"]


def test_what_the_compiler_says_is_told(fake, tmp_path: Path) -> None:
    fake(fails=True)
    with pytest.raises(KernelsUnavailable, match="this compiler is broken"):
        build.find_or_build(tmp_path / "kernels")
    assert [path.name for path in (tmp_path / "kernels").iterdir()] == ["lock"]


def test_a_folder_that_others_can_write_is_not_used(fake, tmp_path: Path) -> None:
    fake()
    cache = tmp_path / "kernels"
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(KernelsUnavailable, match="chmod 700"):
        build.find_or_build(cache)


def test_a_folder_that_cannot_be_made(fake, tmp_path: Path) -> None:
    fake()
    (tmp_path / "file").write_text("")
    with pytest.raises(KernelsUnavailable, match="can't be used"):
        build.find_or_build(tmp_path / "file" / "kernels")


def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    path = tmp_path / f"{os.getpid()}.so"
    path.write_text("no library")
    with pytest.raises(KernelsUnavailable, match="can't be loaded"):
        Library(path, 1)
