"""Runs as several ranks without their launcher, forked from a process that has imported the libraries already."""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path

from job_fakes import job_context
from runs import Tuner, Watched

from llmos_server.job_contracts import JobStopped
from llmos_server.training.job import run
from llmos_server.training.spec import TuneSpec

NUM_RANKS = 2


def run_in_two_ranks(
    tuner: Tuner, job_id: str, spec: TuneSpec, stop_at: tuple[int, JobStopped] | None = None
) -> list[str]:
    """What each one ended with: the name of what was raised, or "". stop_at: of the first one. tuner.steps has what the
    first one told."""
    folder = tuner.home / "ranks" / f"{job_id}-{len(tuner.steps)}"
    folder.mkdir(parents=True)
    pids = [_fork(tuner, job_id, spec, stop_at if rank == 0 else None, folder, rank) for rank in range(NUM_RANKS)]
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * NUM_RANKS
    ended = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(NUM_RANKS)]
    told = {int(step): values for step, values in ended[0]["steps"].items()}
    tuner.steps[job_id] = tuner.steps.get(job_id, {}) | told
    return [end["raised"] for end in ended]


def _fork(
    tuner: Tuner, job_id: str, spec: TuneSpec, stop_at: tuple[int, JobStopped] | None, folder: Path, rank: int
) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        sizes = dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(NUM_RANKS))
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), **sizes, "GLOO_SOCKET_IFNAME": "lo"}
        end = _run(tuner, job_id, spec, stop_at, folder, rank)
        (folder / f"{rank}.json").write_text(json.dumps(end))
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _run(
    tuner: Tuner, job_id: str, spec: TuneSpec, stop_at: tuple[int, JobStopped] | None, folder: Path, rank: int
) -> dict[str, object]:
    from accelerate.state import AcceleratorState

    from llmos_server.training.ranks import meet

    AcceleratorState._reset_state(reset_partial_state=True)  # The parent's was of a single process.
    place = tuner.place(job_id) if rank == 0 else folder
    steps: dict[int, dict[str, float]] = {}
    raised = ""
    with job_context(place, "tune", spec, job_id=job_id, settings=tuner.settings) as context, meet(folder):
        context.folder = tuner.place(job_id) / "jobs" / job_id
        try:
            run(Watched(context, steps, stop_at, lambda step: None))  # type: ignore[arg-type]
        except JobStopped as stop:
            raised = type(stop).__name__
    return {"steps": steps, "raised": raised}
