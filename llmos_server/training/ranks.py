"""What the ranks of a run agree on. For a run of one process, its own first rank, nothing here costs anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import distributed

from llmos_server.job_contracts import JobStopped

STORE = "store"
PATIENCE = timedelta(days=1)
"""While the first rank verifies a checkpoint, the others wait. One that has died is seen without it."""


def is_first() -> bool:
    return rank() == 0


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def num_ranks() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def wait_for_all() -> None:
    """Each rank, until all are here."""
    if num_ranks() > 1:
        distributed.barrier()


def agree(stop: JobStopped | None) -> JobStopped | None:
    """What the first rank was asked for, in all of them: one that went on alone would wait for the others for ever."""
    if num_ranks() == 1:
        return stop
    told = [None if stop is None else (type(stop), str(stop))]
    broadcast_object_list(told)
    return None if told[0] is None else told[0][0](told[0][1])


@contextmanager
def meet(folder: Path) -> Iterator[None]:
    """Where there is no GPU, ranks find each other by a file in `folder` instead of a port; with GPUs as accelerate has
    it."""
    if torch.cuda.is_available():
        PartialState()
    else:
        place = f"file://{folder / STORE}"
        distributed.init_process_group("gloo", place, PATIENCE, world_size=num_ranks(), rank=rank())
    try:
        yield
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
