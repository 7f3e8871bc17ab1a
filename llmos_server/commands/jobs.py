"""The verb jobs: what runs, or waits, of this LLMOS_HOME's tuning runs, batches and evaluations."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from llmos_server.commands.shared import ConfigFlag, Switch, format_time, print_json, print_table, read_settings
from llmos_server.errors import LLMOSError

if TYPE_CHECKING:
    from llmos_server.job_contracts import Job
    from llmos_server.local_jobs import Watcher
    from llmos_server.settings import Settings

jobs = App(
    name="jobs",
    help="Look at jobs in this machine's own database, and steer them.\n\nExample: llmos jobs list",
    help_format="plaintext",
)
JobId = Annotated[str, Parameter(help="The job's id.")]
MOST = 100


@jobs.command(name="list")
def list_jobs(
    *, json: Annotated[bool, Switch, Parameter(help="Print JSON.")] = False, config: ConfigFlag = None
) -> None:
    """List jobs, the newest first.

    Example: llmos jobs list
    """
    import asyncio

    from llmos_server.local_jobs import newest_jobs

    found = asyncio.run(newest_jobs(read_settings(config), MOST))
    if json:
        print_json([_as_row(job) for job in found])
        return
    rows = [("JOB", "KIND", "STATUS", "PROGRESS", "CREATED (UTC)", "WHAT")]
    for job in found:
        share = "" if job.progress is None else f"{job.progress:.0%}"
        rows.append((job.id, job.kind, job.status, share, format_time(job.created // 1000), job.title))
    print_table(rows)


@jobs.command
def follow(job: JobId, /, *, config: ConfigFlag = None) -> None:
    """Show what a job tells, until it ends. Ctrl-C only stops showing it.

    Example: llmos jobs follow ftjob-1234
    """
    import asyncio

    from llmos_server.local_jobs import follow as follow_job

    try:
        _tell_end(asyncio.run(follow_job(read_settings(config), job, _watcher(), runs_here=False, pauses=False)), None)
    except KeyboardInterrupt:
        print(file=sys.stderr)


@jobs.command
def cancel(job: JobId, /, *, config: ConfigFlag = None) -> None:
    """End a job at its next step; what it has kept so far stays.

    Example: llmos jobs cancel ftjob-1234
    """
    _wish(read_settings(config), job, "cancel")


@jobs.command
def pause(job: JobId, /, *, config: ConfigFlag = None) -> None:
    """Let a job stop behind a checkpoint of its next step.

    Example: llmos jobs pause ftjob-1234
    """
    _wish(read_settings(config), job, "pause")


@jobs.command
def resume(job: JobId, /, *, config: ConfigFlag = None) -> None:
    """Let a paused job go on, and follow it. A server of this LLMOS_HOME runs it; without one, this program does.

    Example: llmos jobs resume ftjob-1234
    """
    _wish(settings := read_settings(config), job, "resume")
    follow_here(settings, config, job, None)


def follow_here(settings: Settings, config: Path | None, job_id: str, output: Path | None) -> None:
    """Until the job's end: in a process of this program's unless a server of the home runs jobs."""
    import asyncio

    from llmos_server.commands.where import find_server
    from llmos_server.local_jobs import follow as follow_job

    runs_here = find_server(None, config) is None
    try:
        job = asyncio.run(follow_job(settings, job_id, _watcher(), runs_here=runs_here))
    except KeyboardInterrupt:
        raise LLMOSError(f"The job is paused. Go on with: llmos jobs resume {job_id}") from None
    _tell_end(job, output, settings)


def _tell_end(job: Job, output: Path | None, settings: Settings | None = None) -> None:
    """On stdout, the name that answers now. Raises LLMOSError for a job that failed."""
    if job.status == "failed":
        told = job.error.message if job.error is not None else "it doesn't say why"
        raise LLMOSError(f"The job failed: {told}")
    if job.status != "succeeded":
        print(f"llmos: the job is {job.status}", file=sys.stderr)
        return
    import msgspec

    model = str(msgspec.json.decode(job.result or b"{}").get("model", ""))
    print(model or job.id)
    if output is not None and settings is not None:
        import asyncio

        from llmos_server.local_jobs import copy_adapter

        asyncio.run(copy_adapter(settings, model, output))


def _wish(settings: Settings, job_id: str, wish: str) -> None:
    import asyncio

    from llmos_server.local_jobs import steer

    found = asyncio.run(steer(settings, job_id, wish))
    print(f"{found.id}: {found.status}{f', {found.wish} wanted' if found.wish else ''}")


def _watcher() -> Watcher:
    from llmos_server.commands.job_progress import create_watcher

    return create_watcher(sys.stderr)


def _as_row(job: Job) -> dict[str, object]:
    error = None if job.error is None else job.error.message
    names = ("id", "kind", "status", "progress", "detail", "title", "created", "started", "ended")
    return {**{name: getattr(job, name) for name in names}, "error": error}
