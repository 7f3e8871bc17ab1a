"""Starts a server on this machine that goes on when this program ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmos_tui.calls.live import check_health
from llmos_tui.client import Client, ClientError

LOOK_SECONDS = 0.3
LOG_LINES = 8


class StartFailed(Exception):
    """It ended, or never answered; says what its log says."""


@dataclass
class LocalServer:
    """How it is started."""

    command: Sequence[str]
    log: Path
    patience_seconds: float = 120.0
    """Until /health answers. Models are loaded later, but the first start may make a database."""

    process: subprocess.Popen[bytes] | None = None
    """The one that was started last."""

    async def start(self, client: Client) -> None:
        """Returns when it answers. Raises StartFailed."""
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            process = self.process = self._launch()
        except OSError as error:
            raise StartFailed(f"{self.command[0]} can't be started: {error}") from None
        loop = asyncio.get_running_loop()
        end = loop.time() + self.patience_seconds
        while loop.time() < end:
            if process.poll() is not None:
                raise StartFailed(f"It ended with status {process.returncode}. {self._last_words()}")
            try:
                await check_health(client)
                return
            except ClientError:
                await asyncio.sleep(LOOK_SECONDS)
        raise StartFailed(f"It is there (process {process.pid}), but does not answer. {self._last_words()}")

    def _launch(self) -> subprocess.Popen[bytes]:
        """In a session of its own: what ends this terminal doesn't end the server."""
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return subprocess.Popen(
                list(self.command),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if not name.startswith("TEXTUAL")},
            )
        finally:
            os.close(descriptor)

    def _last_words(self) -> str:
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        except OSError:
            lines = []
        return f"The end of {self.log}:\n" + "\n".join(lines or ["(nothing)"])
