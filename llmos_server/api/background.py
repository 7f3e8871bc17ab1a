"""Responses that are being made though nobody waits for them: who makes which, to follow, cancel or stop it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Protocol

from llmos_server.api.errors import QueueFull
from llmos_server.api.schemas.admin_jobs import JobDetails

MAX_JOBS = 1024
"""In one server: each holds its request in memory."""
MAX_ENDED = 100
"""Of those that have ended, what they were is told; not what was answered."""


class Job(Protocol):
    """One response being made. It leaves the list by itself when it has ended and was saved."""

    async def cancel(self) -> None:
        """The client wants it so. When this returns it has ended and was saved as cancelled, or had ended before."""
        ...

    async def stop(self) -> None:
        """The server ends. When this returns it has ended and was saved as failed, or had ended before."""
        ...

    def look(self) -> JobDetails:
        """As it is now."""
        ...

    def follow(self, starting_after: int) -> AsyncGenerator[bytes, None]:
        """Its events after the one with this sequence number, as a stream has them; -1: all."""
        ...


class BackgroundJobs:
    def __init__(self, max_jobs: int = MAX_JOBS) -> None:
        self._max_jobs = max_jobs
        self._jobs: dict[tuple[str, str], Job] = {}
        self._ended: deque[JobDetails] = deque(maxlen=MAX_ENDED)

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, owner: str, response_id: str, job: Job) -> None:
        """Raises QueueFull."""
        if len(self._jobs) >= self._max_jobs:
            raise QueueFull(f"{self._max_jobs} responses are being made in the background, which is the most.")
        self._jobs[owner, response_id] = job

    def remove(self, owner: str, response_id: str) -> None:
        """Of one that wasn't begun."""
        self._jobs.pop((owner, response_id), None)

    def end(self, owner: str, response_id: str) -> None:
        """It is still listed for a while, as it is now."""
        if (job := self._jobs.pop((owner, response_id), None)) is not None:
            self._ended.append(job.look())

    def list(self) -> list[JobDetails]:
        """Everybody's: those that are made, and the last that were."""
        return [*(job.look() for job in self._jobs.values()), *self._ended]

    async def cancel_by_id(self, response_id: str) -> None:
        """Whosever it is."""
        for (_, of), job in list(self._jobs.items()):
            if of == response_id:
                await job.cancel()

    def find(self, owner: str, response_id: str) -> Job | None:
        return self._jobs.get((owner, response_id))

    async def cancel(self, owner: str, response_id: str) -> None:
        """Nothing when this server makes no such response."""
        if (job := self.find(owner, response_id)) is not None:
            await job.cancel()

    async def stop(self) -> None:
        """All, at the server's end, while the database is still open."""
        await asyncio.gather(*(job.stop() for job in list(self._jobs.values())), return_exceptions=True)
