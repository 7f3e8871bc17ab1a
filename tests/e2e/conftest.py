"""A real server as a user starts it: a process of its own, the default model, loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from llmos_server.contracts import ModelVersion
from llmos_server.settings import load_settings

sys.path.insert(0, str(Path(__file__).parent))  # for tiny_models
sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("gguf", "registry")]  # for gguf_blocks, originals

READY_SECONDS = 120


@dataclass
class LiveServer:
    """`process` is `llmos serve`; its engine worker is a child of it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    key: str = ""
    """What `get` sends, for a server that asks."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, str]:
        try:
            headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
            request = urllib.request.Request(self.url + path, headers=headers)
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name: str) -> float:
        """The sum over the labels of one Prometheus sample."""
        _, text = self.get("/metrics")
        lines = [line for line in text.splitlines() if line.startswith((name + "{", name + " "))]
        assert lines, f"/metrics has no {name}"  # Else a renamed metric would read as 0, and every wait for 0 pass.
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

    def wait_until_ready(self) -> None:
        self.wait_for(lambda: self.get("/ready")[0] == 200, "ready")

    def wait_for(self, condition, what: str, seconds: float = READY_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the server ended:\n{self.log.read_text()}"
            try:
                if condition():
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"not {what} after {seconds} s:\n{self.log.read_text()}")

    def worker_pid(self) -> int:
        pids = self.worker_pids()
        assert pids, "no engine worker runs"
        return pids[0]

    def worker_pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"llmos_server.engine." in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()


def make_home(folder: Path) -> Path:
    """An LLMOS_HOME of the test's own, with the models that were pulled before: keys and usage begin empty."""
    real = load_settings(env={name: os.environ[name] for name in ("LLMOS_HOME",) if name in os.environ}).home
    home = folder / "home"
    # Each file is linked on its own, so that what the test pulls stays in its folder.
    for name in ("blobs", "models", "kernels"):
        (home / name).mkdir(parents=True, exist_ok=True)
        for path in (real / name).glob("*"):
            if not (home / name / path.name).exists():
                (home / name / path.name).symlink_to(path)
    return home


def start_server(
    folder: Path,
    model: str,
    *flags: str,
    env: dict[str, str] | None = None,
    program: Sequence[str] = ("-m", "llmos_server"),
) -> LiveServer:
    """env: beside LLMOS_HOME, which is make_home's unless given. program: what Python runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.log"
    environment = {**os.environ, "LLMOS_HOME": str(make_home(folder)), **(env or {})}
    command = [sys.executable, *program, "serve", "--port", str(port), "--model", model, *flags]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment)
    return LiveServer(process, port, log)


@pytest.fixture(scope="session", name="make_home")
def make_home_fixture() -> Callable[[Path], Path]:
    return make_home


@pytest.fixture(scope="session", name="start_server")
def start_server_fixture() -> Callable[..., LiveServer]:
    return start_server


@pytest.fixture(scope="session")
def server(smollm2: ModelVersion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One server for all tests that don't hurt it."""
    live = start_server(tmp_path_factory.mktemp("server"), smollm2.name, "--log-level", "debug")
    live.wait_until_ready()
    yield live
    live.stop()


@pytest.fixture(scope="session")
def keyed_server(smollm2: ModelVersion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Where tests make keys: from the first one on a server asks everybody for one, so `server` isn't for that."""
    live = start_server(tmp_path_factory.mktemp("keyed"), smollm2.name, "--log-level", "debug")
    live.wait_until_ready()
    yield live
    live.stop()


@pytest.fixture
def own_server(smollm2: ModelVersion, tmp_path: Path) -> Iterator[LiveServer]:
    """A server for one test that kills parts of it."""
    live = start_server(tmp_path, smollm2.name)
    live.wait_until_ready()
    yield live
    live.stop()
