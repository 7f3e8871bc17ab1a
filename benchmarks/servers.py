"""A server that a benchmark starts before its turn, waits for, looks at through /proc, and ends after it."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from llmos_server.errors import LLMOSError
from llmos_server.http_client import check_status, create_client, errors_in_words, first_model

POLL_SECONDS = 0.05
STOP_SECONDS = 60.0
KILL_SECONDS = 10.0
LOG_LINES = 20


class Memory(NamedTuple):
    """MB of a server and all processes under it. PSS shares out what several of them map, RSS counts it in each."""

    pss: float
    rss: float
    peak_rss: float
    """Sum of each process's own highest: the kernel's figure, so nothing is missed between two looks."""


class Server:
    """`with Server(...)`: started and answering; afterwards the whole process group is gone.

    start_seconds: from the start of the command to the answer of a first chat of one token.
    """

    def __init__(self, name: str, url: str, command: str, *, limit: float = 300.0) -> None:
        self.name = name
        self.url = url
        self.start_seconds = 0.0
        self._argv = shlex.split(command)
        self._limit = limit

    def __enter__(self) -> Self:
        _refuse_if_taken(self.url)
        with tempfile.NamedTemporaryFile(prefix=f"bench-{self.name}-", suffix=".log", delete=False) as log:
            self.log = Path(log.name)
            start = time.monotonic()
            try:
                self._process = subprocess.Popen(
                    self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
            except OSError as error:
                raise LLMOSError(f"{self.name}: {self._argv[0]} can't be started: {error.strerror}.") from None
        try:
            self._wait_for_an_answer(start)
        except BaseException:
            self._end()
            raise
        self.start_seconds = round(time.monotonic() - start, 2)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()
        if kind is None:
            self.log.unlink()

    @property
    def pid(self) -> int:
        """Of the command itself."""
        return self._process.pid

    def memory(self) -> Memory | None:
        """None where there is no Linux /proc."""
        if not Path("/proc/self/smaps_rollup").exists():
            return None
        each = [_memory_of(pid) for pid in processes_under(self.pid)]
        return Memory(*(round(sum(values), 1) for values in zip(*each, strict=True)))

    def _wait_for_an_answer(self, start: float) -> None:
        while True:
            if self._process.poll() is not None:
                raise LLMOSError(
                    f"{self.name}: the server ended with {self._process.returncode}.\n{self._last_words()}"
                )
            try:
                return asyncio.run(_ask(self.url))
            except LLMOSError as error:
                if time.monotonic() - start > self._limit:
                    words = self._last_words()
                    raise LLMOSError(f"{self.name}: no answer in {self._limit:.0f} s: {error}\n{words}") from None
            time.sleep(POLL_SECONDS)

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join((*lines[-LOG_LINES:], f"(all of it is in {self.log})"))

    def _end(self) -> None:
        """SIGTERM to the group, SIGKILL after a while. Raises LLMOSError when something of it lives on."""
        under = processes_under(self.pid)
        for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, KILL_SECONDS)):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                break
            if _wait_until(lambda: self._process.poll() is not None and not _is_alive(under), seconds):
                return
        if left := _is_alive(under):
            raise LLMOSError(f"{self.name}: processes {left} live on; end them and begin again.")


async def _ask(url: str) -> None:
    with errors_in_words(url):
        async with create_client(url, reuse=False) as http:
            body: dict[str, Any] = {"model": await first_model(http, url), "max_tokens": 1}
            body["messages"] = [{"role": "user", "content": "Hello"}]
            await check_status(await http.post(f"{url}/chat/completions", json=body))


def _refuse_if_taken(url: str) -> None:
    """Else another server would be measured under this one's name."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1).close()
    except OSError:
        return
    raise LLMOSError(f"Something listens at {url} already: end it, or leave out --start for it.")


def _wait_until(is_true: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _is_alive(pids: list[int]) -> list[int]:
    """Those that still run; a zombie, whose parent hasn't asked yet, does not."""
    return [pid for pid in pids if (stat := _stat(pid)) and stat[0] not in "ZX"]


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name: state, parent, ...; nothing when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def processes_under(pid: int) -> list[int]:
    """The process and all its descendants; only itself where there is no /proc."""
    parents = {int(path.name): _stat(int(path.name)) for path in Path("/proc").glob("[0-9]*")}
    found = [pid]
    for each in found:
        found += [child for child, stat in parents.items() if stat and int(stat[1]) == each]
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of one process."""
    stat = _stat(pid)
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def _memory_of(pid: int) -> Memory:
    def kilobytes(file: str, name: str) -> float:
        line = next(line for line in Path(f"/proc/{pid}/{file}").read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) / 1024

    return Memory(kilobytes("smaps_rollup", "Pss:"), kilobytes("status", "VmRSS:"), kilobytes("status", "VmHWM:"))


def end_in_order_on_sigterm() -> None:
    """So that servers are ended, too."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
