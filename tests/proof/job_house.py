"""A home with tuning jobs of a tiny model, and servers that do jobs and nothing else, which tests kill."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("training", "jobs", ".")]

from job_fakes import make_job
from killing import KilledServer
from tiny_model import conversations, save_model, write_lines

from llmos_server.job_contracts import Job
from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.registry import Registry
from llmos_server.settings import Settings
from llmos_server.store.job_events import read_metrics
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import Store, open_store
from llmos_server.training.spec import TuneSpec

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

    def add(self, job_id: str, num_steps: int, processes: int = 0, **values: Any) -> None:
        spec = TuneSpec(
            method="sft",
            model=self.model,
            values=VALUES | {"max_steps": num_steps} | values,
            training_file=str(self.data),
            suffix=job_id.rpartition("-")[2],
            processes=processes,
        )
        self.ask(lambda store: store.jobs.add(make_job(job_id, "tune", spec)))

    def job(self, job_id: str) -> Job:
        return self.ask(lambda store: store.jobs.get(EVERYBODY, job_id))

    def step_of(self, detail: str) -> int:
        words = detail.split()
        return int(words[1]) if len(words) > 1 and words[0] == "Step" else 0

    def ranks(self) -> dict[int, int]:
        """Of jobs that run as several processes: rank -> process."""
        assert self.process is not None
        jobs = children(self.process.pid)
        return {rank: pid for job in jobs for pid in children(job) if (rank := rank_of(pid)) is not None}

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([sys.executable, str(SCRIPT), str(self.home)], env=environment, stderr=out)


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def rank_of(pid: int) -> int | None:
    try:
        found = re.search(rb"(?:^|\0)RANK=(\d+)", Path(f"/proc/{pid}/environ").read_bytes())
    except OSError:
        return None
    return int(found[1]) if found else None


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
