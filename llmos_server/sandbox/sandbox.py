"""Runs programs that nobody vouches for: bubblewrap's namespaces, limits of the kernel, and a watch over the rest."""

from __future__ import annotations

import os
import selectors
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from llmos_server.sandbox.command import UID, Files, Interpreter, build_command
from llmos_server.sandbox.limits import SandboxLimits
from llmos_server.sandbox.seccomp import create_filter
from llmos_server.sandbox.watching import count_files, resident_bytes

TICK_SECONDS = 0.02
START = Path(__file__).with_name("start.py").read_bytes()

Status = Literal["ok", "failed", "timeout", "memory", "files", "output"]
"""ok: exit status 0. Others than failed: the limit that it was killed at."""


class Execution(msgspec.Struct, kw_only=True):
    """What became of a program."""

    status: Status
    exit_status: int | None
    """None: it was killed at a limit. 128 + n: by the signal n."""
    stdout: str
    stderr: str
    seconds: float


class Stopped(Exception):
    """By the caller."""


class Sandbox:
    """At most `max_runs` programs at a time; others wait."""

    def __init__(self, bwrap: str, python: Interpreter, limits: SandboxLimits, max_runs: int = 2) -> None:
        self.limits = limits
        self._bwrap = bwrap
        self._python = python
        self._places = threading.BoundedSemaphore(max_runs)

    def run(self, program: str, stdin: str = "", stop: threading.Event | None = None) -> Execution:
        """Blocks. Raises Stopped once `stop` is set, and OSError where bubblewrap can't be started."""
        while not self._places.acquire(timeout=TICK_SECONDS):
            if stop is not None and stop.is_set():
                raise Stopped
        try:
            with self._start(program, stdin) as process:
                try:
                    return _Watch(process, self.limits, stop).run()
                finally:
                    process.kill()  # Its first process dies with it, and all the others with that.
        finally:
            self._places.release()

    def _start(self, program: str, stdin: str) -> subprocess.Popen[bytes]:
        with ExitStack() as stack:
            contents = (program.encode(errors="replace"), START, create_filter(), stdin.encode(errors="replace"))
            main, start, seccomp, given = (stack.enter_context(_held(content)).fileno() for content in contents)
            command = build_command(self._bwrap, self._python, Files(main, start, seccomp), self.limits)
            owner: dict[str, Any] = {"user": UID, "group": UID, "extra_groups": ()} if os.geteuid() == 0 else {}
            return subprocess.Popen(
                command,
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(main, start, seccomp),
                cwd="/",
                env={},
                start_new_session=True,
                **owner,
            )


class _Watch:
    def __init__(self, process: subprocess.Popen[bytes], limits: SandboxLimits, stop: threading.Event | None) -> None:
        self._process = process
        self._limits = limits
        self._stop = stop
        self._began = time.monotonic()
        self._room = limits.output_bytes
        self._written: dict[str, list[bytes]] = {"stdout": [], "stderr": []}

    def run(self) -> Execution:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ, "stdout")
            selector.register(self._process.stderr, selectors.EVENT_READ, "stderr")
            while selector.get_map():
                broken = self._read(selector) or self._find_broken()
                if broken is not None:
                    return self._told(broken, None)
        left = self._limits.seconds - (time.monotonic() - self._began)
        try:
            code = self._process.wait(max(left, 0.1))
        except subprocess.TimeoutExpired:
            return self._told("timeout", None)
        return self._told("failed" if code else "ok", code if code >= 0 else 128 - code)

    def _read(self, selector: selectors.BaseSelector) -> Status | None:
        for key, _ in selector.select(TICK_SECONDS):
            piece = os.read(key.fd, 65536)
            if not piece:
                selector.unregister(key.fileobj)
            self._written[key.data].append(piece[: self._room])
            if len(piece) > self._room:
                return "output"
            self._room -= len(piece)
        return None

    def _find_broken(self) -> Status | None:
        if self._stop is not None and self._stop.is_set():
            raise Stopped
        if time.monotonic() - self._began > self._limits.seconds:
            return "timeout"
        if resident_bytes(self._process.pid) > self._limits.memory_bytes:
            return "memory"
        if count_files(self._process.pid) > self._limits.num_files:
            return "files"
        return None

    def _told(self, status: Status, code: int | None) -> Execution:
        texts = {name: b"".join(pieces).decode(errors="replace") for name, pieces in self._written.items()}
        return Execution(status=status, exit_status=code, seconds=time.monotonic() - self._began, **texts)


def _held(content: bytes) -> IO[bytes]:
    """A file without a name, to be read from its start."""
    file = os.fdopen(os.memfd_create("llmos-sandbox"), "w+b")
    file.write(content)
    file.flush()
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return file
