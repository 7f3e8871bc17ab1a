"""A cheap kind of jobs: it counts, and keeps how far it is in a file, as training keeps checkpoints."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

import msgspec

from llmos_server.job_contracts import JobContext, JobFailed
from llmos_server.job_process import main
from llmos_server.store.tables import PinnedModel

CODE = {"tune": "counting:run", "batch": "counting:run"}


class Count(msgspec.Struct):
    steps: int
    seconds: float = 0.0
    """Of each step."""
    dies_at: list[int] = []
    """Steps after which it kills itself: each once, after the checkpoint."""
    hangs: bool = False
    """At its first step, for ever."""
    raises: str = ""
    takes: int = 0
    """Bytes of memory."""


def run(context: JobContext) -> None:
    wanted = context.payload(Count)
    if wanted.raises:
        raise make_error(wanted.raises)
    path = context.folder / "step"
    done = int(path.read_text()) if path.exists() else 0
    (context.folder / "pid").write_text(str(os.getpid()))
    context.log(f"goes on from {done}")
    taken = b"x" * wanted.takes
    for step in range(done + 1, wanted.steps + 1):
        context.check()
        while wanted.hangs:
            time.sleep(1)
        time.sleep(wanted.seconds)
        write_whole(path, str(step))
        context.metrics(step, {"loss": 1 / step})
        context.progress(step / wanted.steps, f"step {step}", {"steps": step})
        context.checkpoint()
        if step in wanted.dies_at and not (mark := context.folder / f"died{step}").exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    async def register(connection) -> None:
        await connection.execute(PinnedModel.__table__.insert().values(name=context.job.id, created=1))

    assert len(taken) == wanted.takes
    context.finish({"steps": wanted.steps, "epoch": context.job.epoch}, register)


def write_whole(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def make_error(name: str) -> BaseException:
    return {
        "failed": JobFailed("The loss is no number.", code="nan_loss", param="learning_rate"),
        "bug": ValueError("a bug"),
        "exit": SystemExit(3),
        "full": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    }[name]


if __name__ == "__main__":
    main(CODE)
