"""A tuning job of two processes: the curve of one, and, whichever process is killed, an end as if none had been."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from job_house import House, adapters_of, house, losses

pytestmark = [pytest.mark.proof, pytest.mark.filterwarnings("ignore")]

NUM_STEPS = 60
KILLS = (0, 1, 1, 0, "leader", "server")
"""Whom: a rank, the job's process, the server's."""
TOLERANCE = 1e-4
"""Of a step's loss between one process and two, of which each computes half a batch."""


def test_two_processes_have_the_curve_of_one_whichever_is_killed(tmp_path: Path) -> None:
    rng = random.Random(4)
    with house(tmp_path) as made:
        made.add("ftjob-alone", NUM_STEPS, lora_dropout=0.0)
        for name in ("whole", "killed"):
            made.add(f"ftjob-{name}", NUM_STEPS, processes=2, per_device_train_batch_size=2, lora_dropout=0.0)
        made.start()
        for name in ("alone", "whole"):
            made.until(lambda name=name: made.has_ended(f"ftjob-{name}"))
        alone = made.ask(lambda store: losses(store, "ftjob-alone"))
        whole = made.ask(lambda store: losses(store, "ftjob-whole"))
        assert whole == pytest.approx(alone, abs=TOLERANCE)
        for whom in KILLS:
            kill(made, "ftjob-killed", whom, rng)
        made.until(lambda: made.has_ended("ftjob-killed"))
        job = made.job("ftjob-killed")
        assert job.status == "succeeded", job.error
        assert job.epoch == len(KILLS) + 1
        assert made.ask(lambda store: losses(store, "ftjob-killed")) == whole
        found = made.ask(lambda store: adapters_of(store, "ftjob-killed"))
        expected = made.ask(lambda store: adapters_of(store, "ftjob-whole"))
        assert found == [(name.replace("whole", "killed"), digest) for name, digest in expected]
        made.until(lambda: not made.num_processes() and not (tmp_path / "jobs" / job.id / "ranks").exists())
        worst = max(abs(whole[step] - alone[step]) for step in alone)
        print(f"{NUM_STEPS} steps: losses of two processes within {worst:.1e} of one's")
        print(f"killed: {KILLS}; the same losses and adapters, each once")


def kill(made: House, job_id: str, whom: int | str, rng: random.Random) -> None:
    """At a random moment behind its next few steps; all of the attempt's processes are gone soon after."""
    made.until(lambda: len(made.ranks()) == 2)
    goal = made.step(job_id) + rng.randint(1, 4)
    made.until(lambda: made.step(job_id) >= goal)
    time.sleep(rng.uniform(0, 0.5))
    assert not made.has_ended(job_id)
    ranks = made.ranks()
    if whom == "server":
        made.kill_server()
    elif whom == "leader":
        made.kill_jobs()
    else:
        os.kill(ranks[int(whom)], signal.SIGKILL)
    made.until(lambda: not any(is_running(pid) for pid in ranks.values()), seconds=15)
    if whom == "server":
        made.start()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
