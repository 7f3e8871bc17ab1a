"""The life of a rank's process: the job's code runs in it, and what it ends with is left for the leader.

The first rank tells and writes for the job, under the epoch that the leader was given; the leader writes what became of
it, and holds the folder's lock. The process ends when the leader does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import structlog

from llmos_server.files.job_folders import JobFolders
from llmos_server.job_contracts import JobStopped
from llmos_server.jobs.context import FollowerContext, RunContext, call_in, event_loop, watched
from llmos_server.jobs.process import Code
from llmos_server.jobs.process_config import ProcessConfig
from llmos_server.jobs.ranks import leave_outcome
from llmos_server.jobs.run import Run
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import create_store

log = structlog.get_logger(__name__)


def join_job(
    config: ProcessConfig, rank: int, folder: Path, find_code: Callable[[str], Code], on_run: Callable[[Run], None]
) -> int:
    """The exit status. folder: where outcomes are left. find_code, on_run: see jobs.process.run_job."""
    settings = config.settings
    store = create_store(settings)
    with event_loop() as loop:
        try:
            job = call_in(loop, store.jobs.get(EVERYBODY, config.job_id))
            if job is None or job.epoch != config.epoch:
                log.warning("the job is another run's by now", job=config.job_id, epoch=config.epoch)
                return 1
            run = Run(job, store.job_leases, settings.jobs.lease_seconds, settings.jobs.max_attempts)
            on_run(run)
            kind = RunContext if rank == 0 else FollowerContext
            place = JobFolders(settings.home).make(job.id)
            context = kind(run, place, settings, config.server, store.database, loop)
            with watched(run, loop) if rank == 0 else nullcontext():
                return _work(context, rank, folder, lambda: find_code(job.kind))
        finally:
            call_in(loop, store.close())


def _work(context: RunContext, rank: int, folder: Path, find: Callable[[], Code]) -> int:
    try:
        find()(context)
    except JobStopped as stop:
        if rank:  # All stop at the same step. The first one may be about to write: it is not to be ended for this one.
            return 0
        leave_outcome(folder, rank, stop)
    except BaseException as error:  # SystemExit, too: libraries end processes.
        log.exception("the rank failed", job=context.job.id, rank=rank)
        leave_outcome(folder, rank, error)
    else:
        return 0
    if not rank:
        context.write()  # What was told last.
    return 1
