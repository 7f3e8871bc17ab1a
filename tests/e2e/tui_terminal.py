"""A terminal that a test reads and types in: tmux, with a server of its own."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

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

    def wait_until_gone(self) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.is_there and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not self.is_there, self.screen

    def end(self) -> None:
        self.tmux("kill-server")
