"""What a fine-tuning job tells: a page of it, or a stream that ends with the job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from llmos_server.api.errors import describe as describe_error
from llmos_server.api.errors import report
from llmos_server.api.fine_tuning.describing import describe_event
from llmos_server.api.generation.starting import AnyRequest
from llmos_server.api.http.event_stream import DONE, EventStream, encode, frame
from llmos_server.api.schemas.fine_tuning import FineTuningEventList
from llmos_server.api.services import services_of
from llmos_server.errors import InvalidRequest
from llmos_server.job_contracts import ENDED, Job
from llmos_server.store.store import Store

LOOK_SECONDS = 0.5
MOST_AT_ONCE = 500


def read_after(job: Job, after: str | None) -> int | None:
    """An event's id -> its number. Raises InvalidRequest."""
    if after is None:
        return None
    begin, _, number = after.rpartition("-")
    if begin != f"ftevent-{job.id.removeprefix('ftjob-')}" or not (number.isascii() and number.isdigit()):
        raise InvalidRequest(f"There is no event {after[:100]!r} of this job.", param="after")
    return int(number[:15])


async def page_of_events(store: Store, job: Job, after: str | None, limit: int) -> FineTuningEventList:
    """The newest first, as OpenAI lists them."""
    found = await store.job_events.list(job.owner, job.id, after=read_after(job, after), limit=limit + 1, order="desc")
    return FineTuningEventList(data=[describe_event(event) for event in found[:limit]], has_more=len(found) > limit)


def open_events(request: AnyRequest, store: Store, job: Job, after: str | None) -> EventStream:
    """The oldest first, each a server-sent event, from the one behind `after`; [DONE] when the job has ended. Raises
    QueueFull, InvalidRequest."""
    number = read_after(job, after)
    services, stopped = services_of(request), asyncio.Event()
    services.watchers.enter()
    return EventStream(
        _follow(store, job, number, stopped),
        expire=lambda _: stopped.set(),
        close=services.watchers.leave,
        ping_seconds=services.settings.ping_seconds,
        grace_seconds=0.0,
    )


async def _follow(store: Store, job: Job, after: int | None, stopped: asyncio.Event) -> AsyncGenerator[bytes, None]:
    while not stopped.is_set():
        try:
            # Asked before the events: what ends a job is written with its last event.
            now = await store.jobs.get(job.owner, job.id)
            found = await store.job_events.list(job.owner, job.id, after=after, limit=MOST_AT_ONCE)
        except Exception as error:
            wire = describe_error(error)
            report(error, wire)
            yield frame(wire.body())
            return
        if found:
            after = found[-1].number
            yield b"".join(frame(encode(describe_event(event))) for event in found)
        elif now is None or now.status in ENDED:
            yield DONE
            return
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), LOOK_SECONDS)
