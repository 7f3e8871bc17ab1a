"""A job that takes more memory than it may is ended: else the system would end something else, perhaps the server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from llmos_server.job_contracts import JobError
from llmos_server.process_memory import family_bytes
from llmos_server.settings import Settings

LOOK_SECONDS = 0.5
CODE = "memory_exceeded"
REMEDY = (
    "Take a smaller batch (per_device_train_batch_size with gradient_accumulation_steps), a smaller max_length, "
    "activation_checkpointing or LoRA, or raise jobs.memory_bytes."
)


def with_bound(settings: Settings, default: int) -> Settings:
    """default: bytes, where the settings say nothing."""
    return replace(settings, jobs=replace(settings.jobs, memory_bytes=settings.jobs.memory_bytes or default))


async def watch_memory(pid: int, most: int, measure: Callable[[int, int], int | None] = family_bytes) -> JobError:
    """Returns when the process, with all that it has started, takes more than `most` bytes."""
    while True:
        taken = await asyncio.to_thread(measure, pid, most)
        if taken is not None and taken > most:
            return JobError(
                CODE,
                f"The job took {taken} bytes of memory, and jobs.memory_bytes allows {most}, so it was ended. Its last "
                f"checkpoint is kept. {REMEDY}",
            )
        await asyncio.sleep(LOOK_SECONDS)
