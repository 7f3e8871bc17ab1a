"""A tuning job that is killed, or whose server is, at any moment: it ends as if nothing had happened, and once."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from job_house import adapters_of, house, losses
from killing import disturb

from llmos_server.training.spec import TuneResult

pytestmark = [pytest.mark.proof, pytest.mark.filterwarnings("ignore")]

NUM_KILLS = 20
NUM_STEPS = 48
MOST_STEPS = 5


def test_a_job_that_is_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    rng = random.Random(8)
    with house(tmp_path) as made:
        made.add("ftjob-whole", NUM_STEPS)
        made.start()
        made.until(lambda: made.has_ended("ftjob-whole"))
        whole = made.job("ftjob-whole")
        assert (whole.status, whole.epoch) == ("succeeded", 1)
        expected, names = made.ask(lambda store: losses(store, whole.id)), made.ask(lambda s: adapters_of(s, whole.id))
        assert len(expected) == NUM_STEPS
        killed = rounds = 0
        while killed < NUM_KILLS:
            rounds += 1
            job_id = f"ftjob-killed{rounds}"
            made.add(job_id, NUM_STEPS)
            killed += disturb(made, job_id, rng, NUM_KILLS - killed, MOST_STEPS)
            made.until(lambda job_id=job_id: made.has_ended(job_id))
            job = made.job(job_id)
            assert job.status == "succeeded", job.error
            assert made.ask(lambda store, job_id=job_id: losses(store, job_id)) == expected
            found = made.ask(lambda store, job_id=job_id: adapters_of(store, job_id))
            assert found == sorted(renamed(names, job_id))
            result = msgspec.json.decode(job.result or b"", type=TuneResult)
            assert len(result.result_files) == 1
            print(f"{job_id}: begun {job.epoch} times; losses and {len(found)} adapters as undisturbed")
        files = made.ask(lambda store: store.files.page("", limit=100)).files
        assert len(files) == rounds + 1
        print(f"{killed} kills of jobs and servers, {rounds} jobs")


def renamed(names: list[tuple[str, str]], job_id: str) -> list[tuple[str, str]]:
    return [(name.replace("whole", job_id.rpartition("-")[2]), digest) for name, digest in names]
