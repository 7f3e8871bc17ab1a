"""The terminal interface as users have it: a real terminal (tmux), the real program, a real server with its model."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

pytestmark = [
    pytest.mark.real_model,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux here"),
]

PATIENCE_SECONDS = 40


class Terminal:
    """A tmux server of its own, with one window."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        self._socket = folder / "tmux"
        self._size = ("-x", str(width), "-y", str(height))

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", str(self._socket), "-f", "/dev/null", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30).stdout

    def start(self, command: list[str], env: dict[str, str]) -> None:
        words = ["env", *(f"{name}={value}" for name, value in env.items()), *command]
        self.tmux("new-session", "-d", *self._size, f"exec {shlex.join(words)}")

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)

    @property
    def screen(self) -> str:
        return self.tmux("capture-pane", "-p")

    @property
    def is_there(self) -> bool:
        return bool(self.tmux("list-panes"))

    def wait_for(self, is_so: str | Callable[[str], bool]) -> str:
        """The screen, when these words are on it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        screen = ""
        while time.monotonic() < deadline:
            screen = self.screen
            if is_so in screen if isinstance(is_so, str) else is_so(screen):
                return screen
            time.sleep(0.1)
        raise AssertionError(f"{is_so!r} did not come:\n{screen}")

    def end(self) -> None:
        self.tmux("kill-server")


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(tmp_path, 120, 36)
    yield made
    made.end()


async def ask(url: str, key: str) -> str:
    """What a client gets whose long answer is ended by somebody else."""
    body = {"messages": [{"role": "user", "content": "Count."}], "max_tokens": 4000, "ignore_eos": True, "stream": True}
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(timeout=120, headers=headers) as http,
        http.stream("POST", f"{url}/v1/chat/completions", json=body) as reply,
    ):
        return (await reply.aread()).decode()


async def test_from_the_start_to_the_end(server, terminal: Terminal) -> None:
    home = server.log.parent / "home"
    key = (home / "admin.token").read_text().strip()
    env = {"LLMOS_HOME": str(home), "PYTHONPATH": os.environ.get("PYTHONPATH", ""), "TERM": "tmux-256color"}
    command = [sys.executable, "-m", "llmos_server", "tui", "--url", server.url, "--rate", "0.5"]
    terminal.start(command, env)
    wait_for = terminal.wait_for

    await asyncio.to_thread(wait_for, "smollm2:135m  decoder  ready")
    asked = asyncio.create_task(ask(server.url, key))
    await asyncio.to_thread(wait_for, "generating")
    await asyncio.to_thread(wait_for, lambda screen: "█ 0 used" not in screen and " used" in screen)
    terminal.press("Enter")
    await asyncio.to_thread(wait_for, "temperature")
    terminal.press("x")
    await asyncio.to_thread(wait_for, "Abort this request?")
    terminal.press("y")
    assert "aborted_by_administrator" in await asked
    await asyncio.to_thread(wait_for, "No request is in flight.")

    terminal.press("3")
    await asyncio.to_thread(wait_for, "Inside")
    terminal.press("q")
    await asyncio.to_thread(_wait_until_gone, terminal)


def _wait_until_gone(terminal: Terminal) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while terminal.is_there and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not terminal.is_there, terminal.screen
