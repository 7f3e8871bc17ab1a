"""A job on a terminal: a bar with what it does just now, its messages and its numbers above; elsewhere plain lines."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from llmos_server.job_contracts import Job, JobEvent
from llmos_server.local_jobs import Watcher

SHOWN = ("train_loss", "valid_loss", "learning_rate", "grad_norm", "tokens_per_second")
"""Of a step's numbers, in this order."""


def create_watcher(stream: TextIO) -> Watcher:
    return TerminalWatcher(stream) if stream.isatty() else PlainWatcher(stream)


class PlainWatcher:
    """A line for each event, and one when what it does changes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._status = ""

    def show(self, job: Job, events: list[JobEvent]) -> None:
        for event in events:
            print(as_line(event), file=self._stream, flush=True)
        if job.status != self._status:
            print(f"{job.id}: {job.status}", file=self._stream, flush=True)
        self._status = job.status

    def close(self) -> None:
        """Lines need no end."""


class TerminalWatcher:
    def __init__(self, stream: TextIO) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[status]}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}", markup=False),
            TimeElapsedColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self._task = self._progress.add_task("", total=1.0, status="queued")
        self._progress.start()

    def show(self, job: Job, events: list[JobEvent]) -> None:
        for event in events:
            self._progress.console.print(as_line(event), markup=False, highlight=False)
        self._progress.update(self._task, completed=job.progress or 0.0, description=job.detail, status=job.status)

    def close(self) -> None:
        self._progress.stop()


def as_line(event: JobEvent) -> str:
    if event.type != "metrics":
        return event.message if event.level == "info" else f"{event.level}: {event.message}"
    told = [f"{name} {event.data[name]:.4g}" for name in SHOWN if isinstance(event.data.get(name), int | float)]
    return f"step {event.data.get('step')}: {', '.join(told)}" if told else event.message
