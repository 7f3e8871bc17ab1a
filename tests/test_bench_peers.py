"""benchmarks/peers.py, growth.py and plots.py as people run them, with scripted servers."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

FIELDS_OF_A_START = {"peer", "seconds", "idle", "loaded"}


@pytest.fixture
def script(project: Path, tmp_path: Path):
    """Runs one of benchmarks/."""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(project / "benchmarks" / name), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)

    return run


@pytest.fixture
def peers(script):
    return functools.partial(script, "peers.py")


class Command:
    """A scripted server that isn't there until it is started."""

    def __init__(self, project: Path, folder: Path, name: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.name = name
        self.pid_file = folder / f"{name}.pid"
        arguments = [sys.executable, project / "tests/sse_server.py", self.port, self.pid_file]
        self.command = " ".join(map(str, arguments))
        self.line = f"{name}={self.command}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def peer(self) -> str:
        return f"{self.name}={self.url}"

    def is_gone(self) -> bool:
        """It and its child."""
        with socket.socket() as probe:
            listens = probe.connect_ex(("127.0.0.1", self.port)) == 0
        return not listens and not is_running(int(self.pid_file.read_text()))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc is Linux's")


@needs_proc
def test_each_server_is_started_for_its_turn_and_gone_after_it(peers, project: Path, tmp_path: Path) -> None:
    first, second = (Command(project, tmp_path, name) for name in ("first", "second"))
    path = tmp_path / "results.json"
    options = [
        "--rounds",
        "2",
        "--concurrency",
        "2",
        "--workload",
        "chat,turns",
        "--requests",
        "2",
        "--json",
        str(path),
    ]
    done = peers(first.peer, second.peer, "--start", first.line, "--start", second.line, *options)
    assert done.returncode == 0, done.stderr
    assert first.is_gone()
    assert second.is_gone()
    told = [line for line in done.stderr.splitlines() if line.startswith("round")]
    assert told == ["round 1, first", "round 1, second", "round 2, second", "round 2, first"]
    results: dict[str, Any] = json.loads(path.read_text())
    assert len(results["figures"]) == 2 * 2 * 2
    assert all(figure["run"]["output_tokens"] == 64 * figure["run"]["num_requests"] for figure in results["figures"])
    assert [set(start) for start in results["starts"]] == [FIELDS_OF_A_START] * 4
    assert all(start["loaded"][2] >= start["idle"][0] > 0 for start in results["starts"])
    assert "| 2 | second |" in done.stdout
    assert "| first |" in done.stdout


def test_servers_that_are_up_stay_up(peers, sse_server) -> None:
    sse_server.texts = []
    done = peers(f"one={sse_server.url}", f"two={sse_server.url}", "--rounds", "1", "--concurrency", "1")
    assert done.returncode == 0, done.stderr
    sent = [body["messages"] for body in sse_server.bodies]
    assert sent[: len(sent) // 2] == sent[len(sent) // 2 :], "the same prompts for both"


def test_short_answers_fail_loudly(peers, sse_server) -> None:
    done = peers(f"one={sse_server.url}", "--rounds", "1", "--concurrency", "1", "--requests", "1")
    assert done.returncode == 1
    assert "64 tokens were asked for and 5 came" in done.stderr


def test_what_cannot_be_measured_is_told(peers, sse_server, project: Path, tmp_path: Path) -> None:
    """And nothing is left running."""
    up = f"up={sse_server.url}"
    assert "listens at" in peers(up, "--start", f"up={sys.executable} -V").stderr
    assert "no server of that name" in peers(up, "--start", "other=true").stderr
    assert "chat, long, turns" in peers(up, "--workload", "nothing").stderr
    gone = Command(project, tmp_path, "gone")
    ended = peers(gone.peer, "--start", f"gone={sys.executable} -c 'print(\"no such model\"); raise SystemExit(3)'")
    assert ended.returncode == 1
    assert "ended with 3" in ended.stderr
    assert "no such model" in ended.stderr
    never = peers(gone.peer, "--start", "gone=sleep 600", "--start-seconds", "0.2")
    assert "no answer in 0 s" in never.stderr


@needs_proc
def test_growth_is_measured_and_drawn(script, project: Path, tmp_path: Path) -> None:
    server, path, folder = Command(project, tmp_path, "server"), tmp_path / "growth.json", tmp_path / "images"
    done = script("growth.py", "--only", "prompts", "--url", server.url, "--start", server.command, "--json", str(path))
    assert done.returncode == 0, done.stderr
    assert server.is_gone()
    lengths = json.loads(path.read_text())["prompts"]
    assert [each["prompt_tokens"] for each in lengths] == [32, 128, 512, 1024, 2048, 4096, 6144, 8000]
    assert lengths[0]["tokens_held"] == 4 * (32 + 8)
    assert all(each["memory"][0] > 0 for each in lengths)
    drawn = script("plots.py", f"one & only={path}", f"other={path}", "--folder", str(folder))
    assert drawn.returncode == 0, drawn.stderr
    assert sorted(file.name for file in folder.iterdir()) == ["memory.svg", "ttft.svg"], "clients weren't measured"
    for file in folder.iterdir():
        image = ElementTree.fromstring(file.read_text())
        lines = [element.attrib["points"].split() for element in image.iter("{http://www.w3.org/2000/svg}polyline")]
        assert [len(line) for line in lines] == [8, 8]
        across = [float(point.split(",")[0]) for point in lines[0]]
        assert across == sorted(across)
        words = [element.text for element in image.iter("{http://www.w3.org/2000/svg}text")]
        assert "one & only" in words


def test_parts_that_do_not_exist_are_told(script) -> None:
    done = script("growth.py", "--only", "everything")
    assert done.returncode == 1
    assert "start, clients, prompts, stream" in done.stderr
