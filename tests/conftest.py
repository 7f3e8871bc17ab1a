"""What every test gets: a clean environment, no network but loopback, and the real model where it is at hand."""

from __future__ import annotations

import gc
import importlib.util
import ipaddress
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest_plugins = ["postgres_cluster"]

KEPT_VARIABLES = ("LLMOS_HOME", "LLMOS_TEST_")

# Before anything is imported that reads them.
for _name in [name for name in os.environ if name.startswith("LLMOS_") and not name.startswith(KEPT_VARIABLES)]:
    del os.environ[_name]
# Where Python may not keep what it compiled, each program that a test starts compiles all modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1", NO_COLOR="1", COLUMNS="120")


def is_local(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback or str(host) == "0.0.0.0"
    except ValueError:
        return False


def forbid_network(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: names may be looked up, and sockets connected, on this machine only."""
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None  # Unix sockets have a path instead.
    elif event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        return
    if not is_local(host):
        raise RuntimeError(f"A test reached for the network: {event} {host!r}. Use loopback or a fake.")


sys.addaudithook(forbid_network)


def pytest_collection_finish() -> None:
    """What has been imported stays: not looking through it for garbage takes a third off tests of many objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 50)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What proofs have measured (record_property); with several workers, what they print would be lost."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


SMALL_DISK_BYTES = 16 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 16 MiB: a tmpfs, which only root can mount; elsewhere tests of it are skipped."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def fill() -> Callable[..., Path]:
    """fill(disk, leave): a file that leaves so many bytes."""

    def fill(disk: Path, leave: int = 0) -> Path:
        path = disk / "filler"
        status = os.statvfs(disk)
        path.write_bytes(b"x" * (status.f_bavail * status.f_frsize - leave))
        return path

    return fill


@pytest.fixture(scope="session")
def project() -> Path:
    """The repository's root."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def smollm2() -> Any:
    """The ModelVersion of the default model, pulled before the tests. Tests of this model skip without it."""
    return pulled("smollm2:135m")


@pytest.fixture(scope="session")
def minilm() -> Any:
    """The same of the default model for embeddings."""
    return pulled("all-minilm-l6-v2")


def pulled(name: str) -> Any:
    from llmos_server.errors import ModelNotFound
    from llmos_server.registry.registry import Registry
    from llmos_server.settings import load_settings

    home = load_settings(env={name: os.environ[name] for name in ("LLMOS_HOME",) if name in os.environ}).home
    try:
        return Registry(home, {}, 1.0).get(name)
    except ModelNotFound:
        pytest.skip(f"{name} isn't in {home}; fetch it with: .venv/bin/llmos pull {name}")


@pytest.fixture
def sse_server() -> Iterator[Any]:
    """A scripted streaming server (tests/sse_server.py) that answers with five texts."""
    path = Path(__file__).parent / "sse_server.py"
    spec = importlib.util.spec_from_file_location("sse_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.serving(["One", " two", " three", " four", "."]) as server:
        yield server
