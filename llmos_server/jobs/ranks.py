"""A job that several processes compute together: its process leads, and each of them, a rank, is told by it what to do.

The leader holds a pipe for each rank, in the job's folder, as the server holds one for the leader: the configuration is
its first line, a stop a later one, and its end is the leader's own. What a rank ends with, it leaves in a file.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from llmos_server.job_contracts import (
    Cancelled,
    Interrupted,
    JobContext,
    JobError,
    JobFailed,
    JobStopped,
    LeaseLost,
    Paused,
    RunLost,
)
from llmos_server.jobs.failures import TRANSIENT, UNKNOWN, describe
from llmos_server.jobs.process_config import STOP_LINE, configure

LOOK_SECONDS = 0.2
STOPS: Mapping[str, type[JobStopped]] = {stop.__name__: stop for stop in (Paused, Cancelled, Interrupted, LeaseLost)}


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a rank ended with, if not well."""

    kind: Literal["stopped", "lost", "failed"]
    error: JobError
    """Of "stopped": its code is the name of a JobStopped."""
    time: float


def leave_outcome(folder: Path, rank: int, error: BaseException) -> None:
    """For the leader."""
    kind: Literal["stopped", "lost", "failed"] = "failed"
    told = describe(error)
    if isinstance(error, JobStopped):
        kind, told = "stopped", JobError(type(error).__name__, str(error))
    elif isinstance(error, TRANSIENT):
        kind = "lost"
    (folder / f"{rank}.json").write_bytes(msgspec.json.encode(Outcome(kind=kind, error=told, time=time.time())))


@contextmanager
def channels(context: JobContext, folder: Path, num: int) -> Iterator[None]:
    """While it is open, `num` ranks may connect. An interruption of the leader is one of the first rank."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    line = msgspec.json.encode(configure(context.job.id, context.job.epoch, context.settings, context.server)) + b"\n"
    pipes = []
    for rank in range(num):
        os.mkfifo(folder / f"{rank}.pipe", 0o600)
        pipes.append(os.open(folder / f"{rank}.pipe", os.O_RDWR))  # Both ends, so as not to wait for the rank.
        os.write(pipes[-1], line)
    has_ended = threading.Event()
    relay = threading.Thread(target=_relay_stop, args=(context, pipes[0], has_ended), name="ranks-relay")
    relay.start()
    try:
        yield
    finally:
        has_ended.set()
        relay.join()
        for pipe in pipes:
            os.close(pipe)
        shutil.rmtree(folder, ignore_errors=True)


def connect(folder: Path, rank: int) -> None:
    """In a rank: its pipe is stdin from now on. A leader that is gone already is its end."""
    pipe = os.open(folder / f"{rank}.pipe", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(pipe, True)
    os.dup2(pipe, 0)
    os.close(pipe)


def cause(context: JobContext, folder: Path, statuses: Mapping[int, int]) -> BaseException:
    """Why the ranks ended; what the others say of one that died is no cause.

    statuses: those that didn't end well, and their exit status, negative for a signal.
    """
    found = {rank: outcome for rank in statuses if (outcome := _read(folder / f"{rank}.json")) is not None}
    outcomes = sorted(found.values(), key=lambda outcome: outcome.time)
    for outcome in outcomes:
        if outcome.kind == "failed" and outcome.error.code != UNKNOWN:
            return JobFailed(outcome.error.message, code=outcome.error.code, param=outcome.error.param)
        if outcome.kind == "stopped" and outcome.error.code != Interrupted.__name__:
            return STOPS[outcome.error.code](outcome.error.message)
    try:
        context.check()
    except JobStopped as stop:
        return stop
    lost = [rank for rank, status in statuses.items() if rank not in found and status < 0]
    if lost or not outcomes or outcomes[0].kind != "failed":
        return RunLost(_describe_loss(lost, statuses))
    return JobFailed(outcomes[0].error.message, code=UNKNOWN)


def _describe_loss(lost: list[int], statuses: Mapping[int, int]) -> str:
    if not lost:
        return f"its ranks ended with the statuses {dict(statuses)}"
    name = signal.Signals(-statuses[lost[0]]).name
    return f"rank {lost[0]} was ended by {name}{', perhaps for want of memory' if name == 'SIGKILL' else ''}"


def _relay_stop(context: JobContext, pipe: int, has_ended: threading.Event) -> None:
    while not has_ended.wait(LOOK_SECONDS):
        try:
            context.check()
        except Interrupted:
            os.write(pipe, STOP_LINE)
            return
        except JobStopped:
            pass  # The first rank sees it by itself.


def _read(path: Path) -> Outcome | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Outcome)
    except (OSError, msgspec.DecodeError):
        return None
