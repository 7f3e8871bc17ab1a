"""A tuning job that is killed, or whose server is, at any moment: it ends as if nothing had happened, and once."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("training", "jobs", ".")]

from job_fakes import make_job
from killing import KilledServer, disturb
from tiny_model import conversations, save_model, write_lines

from llmos_server.job_contracts import Job
from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.registry import Registry
from llmos_server.settings import Settings
from llmos_server.store.job_events import read_metrics
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import Store, open_store
from llmos_server.training.spec import TuneResult, TuneSpec

pytestmark = [pytest.mark.proof, pytest.mark.filterwarnings("ignore")]

NUM_KILLS = 20
NUM_STEPS = 48
MOST_STEPS = 5
SCRIPT = Path(__file__).parent / "killed_server.py"
VALUES: dict[str, Any] = {
    "use_peft": True,
    "lora_r": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.1,
    "lora_target_modules": ["all-linear"],
    "learning_rate": 1e-2,
    "per_device_train_batch_size": 4,
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_steps": 3,
    "bf16": False,
    "gradient_checkpointing": False,
    "max_length": 128,
    "max_steps": NUM_STEPS,
    "seed": 3,
}


class House(KilledServer):
    """A home with a tiny model, and servers that do jobs and nothing else."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, home / "server.log")
        self.model = f"file:{save_model(home / 'tiny')}"
        Registry(home, {}, 1.0).pull(self.model, QuietProgress())
        self.data = write_lines(home / "chats.jsonl", conversations(24))

    def ask(self, work: Any) -> Any:
        async def inside() -> Any:
            async with open_store(Settings(home=self.home)) as store:
                return await work(store)

        return asyncio.run(inside())

    def add(self, job_id: str) -> None:
        spec = TuneSpec(
            method="sft",
            model=self.model,
            values=VALUES,
            training_file=str(self.data),
            suffix=job_id.rpartition("-")[2],
        )
        self.ask(lambda store: store.jobs.add(make_job(job_id, "tune", spec)))

    def job(self, job_id: str) -> Job:
        return self.ask(lambda store: store.jobs.get(EVERYBODY, job_id))

    def step_of(self, detail: str) -> int:
        words = detail.split()
        return int(words[1]) if len(words) > 1 and words[0] == "Step" else 0

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([sys.executable, str(SCRIPT), str(self.home)], env=environment, stderr=out)


@contextmanager
def house(home: Path) -> Iterator[House]:
    made = House(home)
    try:
        yield made
    finally:
        if made.process is not None:
            made.kill_server()


async def losses(store: Store, job_id: str) -> dict[int, float]:
    """Of each step, as it was told last."""
    async with store.database.read() as connection:
        events = await read_metrics(connection, job_id)
    return {event.data["step"]: event.data["train_loss"] for event in events if "train_loss" in event.data}


async def adapters_of(store: Store, job_id: str) -> list[tuple[str, str]]:
    """Their names behind the base's, and digests."""
    found = [one for one in await store.adapters.list("") if one.job_id == job_id]
    return sorted((one.name.rpartition(":")[2], one.digest) for one in found)


def test_a_job_that_is_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    rng = random.Random(8)
    with house(tmp_path) as made:
        made.add("ftjob-whole")
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
            made.add(job_id)
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
