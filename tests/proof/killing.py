"""Servers and jobs that a test kills at random moments, and starts again."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from llmos_server.job_contracts import ENDED


class KilledServer:
    """A home with a server that comes and goes. Subclasses say how it is started, and read how far a job is."""

    def __init__(self, home: Path, log: Path) -> None:
        self.home = home
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        raise NotImplementedError

    def step_of(self, detail: str) -> int:
        """detail: of the job. 0 where it tells none."""
        raise NotImplementedError

    def has_ended(self, job_id: str) -> bool:
        return self._row(job_id)[0] in ENDED

    def step(self, job_id: str) -> int:
        return self.step_of(self._row(job_id)[1])

    def _row(self, job_id: str) -> tuple[str, str]:
        """Read often, so it is read cheaply."""
        with closing(sqlite3.connect(self.home / "llmos.db")) as database:
            query = "SELECT status, detail FROM jobs WHERE id = ?"
            found: tuple[str, str] = database.execute(query, (job_id,)).fetchone()
        return found

    def kill_server(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def num_processes(self) -> int:
        """Of jobs."""
        return len(self._jobs())

    def kill_jobs(self) -> None:
        for pid in self._jobs():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _jobs(self) -> list[int]:
        assert self.process is not None
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in found.split() if _is_job(pid)]

    def until(self, good: Callable[[], object], seconds: float = 300) -> None:
        deadline = time.monotonic() + seconds
        while not good():
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.1)


def _is_job(pid: str) -> bool:
    with suppress(OSError):
        return b"llmos_server.job_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def disturb(made: KilledServer, job_id: str, rng: random.Random, num_kills: int, most_steps: int) -> int:
    """Kills it, or its server, so many times, or until it has ended; how often. At any moment of a process: while it
    loads, between two steps, in a checkpoint. most_steps: between two kills."""
    for killed in range(num_kills):
        made.until(lambda: made.num_processes() or made.has_ended(job_id))
        if rng.random() < 0.3:
            time.sleep(rng.uniform(0, 10))
        else:
            goal = made.step(job_id) + rng.randint(1, most_steps)
            made.until(lambda goal=goal: made.step(job_id) >= goal or made.has_ended(job_id))  # type: ignore[misc]
            time.sleep(rng.uniform(0, 0.5))
        if made.has_ended(job_id):
            return killed
        if rng.random() < 0.5:
            made.kill_server()
            made.start()
        else:
            made.kill_jobs()
    return num_kills
