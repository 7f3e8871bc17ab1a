"""A response that is made though nobody waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from llmos_server.api.flights import flight_of
from llmos_server.api.http.access import principal_of
from llmos_server.api.responding.preparing import Prepared
from llmos_server.api.responding.run import ResponseRun
from llmos_server.api.responding.stream import follow
from llmos_server.api.schemas.admin_jobs import JobDetails, JobState
from llmos_server.api.schemas.responses import ResponseUsage
from llmos_server.api.services import services_of

STATES: dict[str, JobState] = {
    "queued": "queued",
    "in_progress": "running",
    "completed": "done",
    "incomplete": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}


class BackgroundResponse:
    """Implements api.background.Job."""

    def __init__(self, run: ResponseRun) -> None:
        self._run = run
        self._created = time.time()
        self._key = principal_of(run.request).name

    async def cancel(self) -> None:
        self._run.cancel("cancelled")
        await self._run.wait()

    async def stop(self) -> None:
        self._run.cancel("failed")
        await self._run.wait()

    def look(self) -> JobDetails:
        response, key = self._run.response, self._key
        usage = response.usage
        is_over = STATES[response.status] not in ("queued", "running")  # It may still have to be stored.
        return JobDetails(
            id=response.id,
            kind="response",
            title=f"{response.model} for {f'the key {key}' if key else 'somebody without a key'}",
            state=STATES[response.status] if self._run.ended is not None or not is_over else "running",
            created=self._created,
            started=self._run.began,
            ended=self._run.ended,
            detail=response.status + (f", {usage.total_tokens} tokens" if isinstance(usage, ResponseUsage) else ""),
            error=None if response.error is None else response.error.code,
        )

    def follow(self, starting_after: int) -> AsyncGenerator[bytes, None]:
        return follow(self._run, starting_after + 1)


async def start_in_background(run: ResponseRun, prepared: Prepared) -> None:
    """Stored as queued, then begun. Raises RateLimited, QueueFull, InvalidRequest, StoreUnavailable."""
    state, response_id = prepared.state, run.response.id
    jobs = services_of(run.request).jobs
    run.take_place()
    try:
        run.announce()
        jobs.add(state.owner, response_id, BackgroundResponse(run))
        await state.save_queued(run.response, prepared.input_items)
    except BaseException:
        jobs.remove(state.owner, response_id)
        run.give_back_place()
        raise
    flight_of(run.request).end_job = run.expire
    task = run.start()
    task.add_done_callback(lambda _: jobs.end(state.owner, response_id))


async def shielded(run: ResponseRun) -> None:
    """Until it has ended; when this is cancelled, so is the run, and it has ended when this has."""
    task = run.start()
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        run.cancel()
        await run.wait()
        raise
