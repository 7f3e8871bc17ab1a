"""Why a job of several processes ended, of all that these leave behind; and what each of them is told."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import msgspec
import pytest

from llmos_server.job_contracts import (
    Interrupted,
    Job,
    JobFailed,
    JobStopped,
    LeaseLost,
    Paused,
    RunLost,
    ServerAddress,
)
from llmos_server.jobs.process_config import STOP_LINE, ProcessConfig
from llmos_server.jobs.ranks import cause, channels, leave_outcome
from llmos_server.settings import Settings

PEER = RuntimeError("Connection closed by peer")
NAN = JobFailed("no number", code="diverged")
KILLED = -signal.SIGKILL


class Context:
    """As much of a JobContext as a leader asks for."""

    job = Job(id="job_1", kind="tune", owner="", title="", payload=b"", epoch=3, created=1)
    server = ServerAddress("http://127.0.0.1:1", "none")

    def __init__(self, home: Path, stop: JobStopped | None = None) -> None:
        self.settings = Settings(home=home)
        self.stop = stop

    def check(self) -> None:
        if self.stop is not None:
            raise self.stop


@pytest.mark.parametrize(
    ("outcomes", "statuses", "stop", "found"),
    [
        pytest.param({}, {1: KILLED, 0: 1}, None, RunLost("rank 1 was ended by SIGKILL"), id="killed"),
        pytest.param({0: PEER}, {1: KILLED, 0: 1}, None, RunLost("rank 1 was ended"), id="what-others-say-of-it"),
        pytest.param({1: NAN, 0: PEER}, {1: 1, 0: 1}, None, NAN, id="one-failed"),
        pytest.param({0: PEER, 1: NAN}, {1: 1, 0: 1}, None, NAN, id="one-failed-and-is-late"),
        pytest.param({1: NAN}, {1: 1, 0: KILLED}, None, NAN, id="the-others-were-killed-for-it"),
        pytest.param({1: ValueError("a bug"), 0: PEER}, {1: 1, 0: 1}, None, JobFailed("a bug", code=""), id="bug"),
        pytest.param({0: Paused()}, {0: 1}, None, Paused(), id="paused"),
        pytest.param({0: LeaseLost()}, {0: 1, 1: -signal.SIGTERM}, None, LeaseLost(), id="taken-over"),
        pytest.param({0: Interrupted()}, {0: 1}, Interrupted(), Interrupted(), id="the-server-stops"),
        pytest.param({0: Interrupted()}, {1: KILLED, 0: 1}, None, RunLost("rank 1"), id="torch-stops-the-others"),
    ],
)
def test_the_cause_of_an_end(
    tmp_path: Path,
    outcomes: dict[int, BaseException],
    statuses: dict[int, int],
    stop: JobStopped | None,
    found: Exception,
) -> None:
    for rank, error in outcomes.items():
        leave_outcome(tmp_path, rank, error)
        time.sleep(0.002)
    told = cause(Context(tmp_path, stop), tmp_path, statuses)  # type: ignore[arg-type]
    assert type(told) is type(found)
    assert str(found) in str(told)


def test_ranks_are_told_as_the_jobs_process_is(tmp_path: Path) -> None:
    """The configuration first; a stop, if they are the first one; and the pipe's end with the leader's."""
    context = Context(tmp_path)
    with channels(context, tmp_path / "ranks", 2):  # type: ignore[arg-type]
        pipes = [os.open(tmp_path / "ranks" / f"{rank}.pipe", os.O_RDONLY) for rank in range(2)]
        lines = [os.read(pipe, 2**16) for pipe in pipes]
        assert lines[0] == lines[1]
        config = msgspec.json.decode(lines[0], type=ProcessConfig)
        assert (config.job_id, config.epoch, config.settings.home) == ("job_1", 3, tmp_path)
        context.stop = Interrupted()
        assert os.read(pipes[0], 100) == STOP_LINE
    assert [os.read(pipe, 100) for pipe in pipes] == [b"", b""]
    for pipe in pipes:
        os.close(pipe)
    assert not (tmp_path / "ranks").exists()
