"""Requests about jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator

from llmos_tui.client import Client, Params, in_path
from llmos_tui.wire.jobs import JobDetails, JobList

PATH = "/admin/v1/jobs"


async def follow_jobs(client: Client, interval: float) -> AsyncIterator[JobList]:
    """All of them each time."""
    params: Params = {"follow": True, "interval": interval}
    async for event in client.events("GET", PATH, params=params):
        if event.name == "jobs":
            yield event.decode(JobList)


async def follow_job(client: Client, id: str, interval: float) -> AsyncIterator[JobDetails]:
    """One of them, with its log and what can be plotted."""
    params: Params = {"follow": True, "interval": interval}
    async for event in client.events("GET", f"{PATH}/{in_path(id)}", params=params):
        if event.name == "job":
            yield event.decode(JobDetails)


async def pause_job(client: Client, id: str) -> JobDetails:
    return await client.send("POST", f"{PATH}/{in_path(id)}/pause", JobDetails)


async def resume_job(client: Client, id: str) -> JobDetails:
    return await client.send("POST", f"{PATH}/{in_path(id)}/resume", JobDetails)


async def cancel_job(client: Client, id: str) -> JobDetails:
    return await client.send("POST", f"{PATH}/{in_path(id)}/cancel", JobDetails)
