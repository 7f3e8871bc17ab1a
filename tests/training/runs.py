"""Runs of a tiny model as jobs, in this process. A plain module: conftest.py puts this folder on sys.path."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from job_fakes import job_context, read_job
from tiny_model import save_model

from llmos_server.job_contracts import Job, JobStopped, ServerAddress
from llmos_server.jobs.context import RunContext
from llmos_server.registry.progress import QuietProgress
from llmos_server.registry.registry import Registry
from llmos_server.settings import EngineSettings, Settings
from llmos_server.training.job import run
from llmos_server.training.spec import TuneSpec

LORA: dict[str, Any] = {
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
    "max_steps": 6,
    "seed": 3,
}

NO_SERVER = ServerAddress("http://127.0.0.1:1", "")


class Tuner:
    """home: holds the tiny model and the jobs."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.settings = Settings(home=home, engine=EngineSettings(threads=1, cache_bytes=2**20))
        self.model = f"file:{save_model(home / 'tiny')}"
        self.version = Registry(home, {}, 1.0).pull(self.model, QuietProgress())
        self.steps: dict[str, dict[int, dict[str, float]]] = {}
        """Job -> step -> what was told of it."""

    def spec(self, data: Path, method: str = "sft", **values: Any) -> TuneSpec:
        return TuneSpec(method=method, model=self.model, values=LORA | values, training_file=str(data), suffix="tidy")

    def place(self, job_id: str) -> Path:
        """A database of its own, with the job's folder below."""
        place = self.home / "places" / job_id
        place.mkdir(parents=True, exist_ok=True)
        return place

    def checkpoints(self, job_id: str) -> Path:
        return self.place(job_id) / "jobs" / job_id / "checkpoints"

    def adapters(self, job_id: str) -> list[str]:
        """All names that lead to one, those that no list shows among them."""
        return self._column(job_id, "select name from adapters order by name")

    def messages(self, job_id: str) -> list[str]:
        """Of its events."""
        return self._column(job_id, "select message from job_events order by number")

    def _column(self, job_id: str, query: str) -> list[str]:
        with closing(sqlite3.connect(self.place(job_id) / "llmos.db")) as database:
            return [value for (value,) in database.execute(query)]

    def run(
        self,
        job_id: str,
        spec: TuneSpec,
        stop_at: tuple[int, JobStopped] | None = None,
        on_step: Callable[[int], None] = lambda step: None,
        owner: str = "",
        server: ServerAddress = NO_SERVER,
    ) -> Job:
        """One attempt. stop_at: the step behind which check() raises, and what. on_step: called with it by check()."""
        with job_context(
            self.place(job_id), "tune", spec, job_id=job_id, settings=self.settings, owner=owner, server=server
        ) as context:
            run(Watched(context, self.steps.setdefault(job_id, {}), stop_at, on_step))  # type: ignore[arg-type]
        return read_job(self.place(job_id), owner, job_id)


class Watched:
    """A JobContext that notes what is told of steps."""

    def __init__(
        self,
        context: RunContext,
        steps: dict[int, dict[str, float]],
        stop_at: tuple[int, JobStopped] | None,
        on_step: Callable[[int], None],
    ) -> None:
        self._context = context
        self._steps = steps
        self._stop_at = stop_at
        self._on_step = on_step
        self._step = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self._steps.setdefault(step, {}).update(values)
        self._context.metrics(step, values)

    def progress(self, share: float | None, detail: str = "", result: Any = None) -> None:
        if detail.startswith("Step "):
            self._step = int(detail.split()[1])
        self._context.progress(share, detail, result)

    def check(self) -> None:
        self._context.check()
        self._on_step(self._step)
        if self._stop_at is not None and self._step >= self._stop_at[0]:
            raise self._stop_at[1]
