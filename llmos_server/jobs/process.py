"""The life of a job's process: the job's code runs once, and what comes of it is written.

It ends when its parent's pipe closes, with all processes that it has started, so that no orphan goes on computing; an
orphan that does for another moment can write nothing, because its epoch is over.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from llmos_server.files.job_folders import LOCK, JobFolders
from llmos_server.job_contracts import JobContext, JobError, JobStopped, LeaseLost
from llmos_server.jobs.context import RunContext, call_in, event_loop, watched
from llmos_server.jobs.failures import TRANSIENT, describe
from llmos_server.jobs.process_config import STOP_LINE, ProcessConfig
from llmos_server.jobs.run import Run
from llmos_server.store.locks import file_lock
from llmos_server.store.owners import EVERYBODY
from llmos_server.store.store import create_store

Code = Callable[[JobContext], None]
"""What a kind of jobs does. It calls context.finish(), or raises."""

NICE = 10
LOCK_SECONDS = 0.1

log = structlog.get_logger(__name__)


def run_job(config: ProcessConfig, find_code: Callable[[str], Code], on_run: Callable[[Run], None]) -> None:
    """Until its end is written. find_code: by the job's kind; called in here, so that what it raises is told, too.
    on_run: whatever may interrupt the run later."""
    settings = config.settings
    store = create_store(settings)
    with event_loop() as loop:
        job = call_in(loop, store.jobs.get(EVERYBODY, config.job_id))
        if job is None or job.epoch != config.epoch:
            log.warning("the job is another run's by now", job=config.job_id, epoch=config.epoch)
            return
        folder = JobFolders(settings.home).make(job.id)
        run = Run(job, store.job_leases, settings.jobs.lease_seconds, settings.jobs.max_attempts)
        context = RunContext(run, folder, settings, config.server, store.database, loop)
        on_run(run)
        try:
            with watched(run, loop):
                _end(run, loop, _work(context, run, lambda: find_code(job.kind)))
        finally:
            call_in(loop, store.close())


def _work(context: RunContext, run: Run, find: Callable[[], Code]) -> BaseException | None:
    """What the job's code raised."""
    try:
        with _only_here(context):
            find()(context)
    except JobStopped as stop:
        return stop
    except BaseException as error:  # SystemExit, too: libraries end processes.
        log.exception("the job failed", job=context.job.id)
        return error
    return None if run.is_finished else RuntimeError("its code ended without a result")


class _only_here:
    """Holds the folder's lock: a run that was given up, and is about to end, may still write there."""

    def __init__(self, context: JobContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        while True:
            self._lock = file_lock(self._context.folder / LOCK, wait=False)
            try:
                return self._lock.__enter__()
            except BlockingIOError:
                self._context.check()
                time.sleep(LOCK_SECONDS)

    def __exit__(self, *error: object) -> None:
        self._lock.__exit__(None, None, None)


def _end(run: Run, loop: asyncio.AbstractEventLoop, error: BaseException | None) -> None:
    """Writes what became of the run, unless it has finished or is nobody's."""
    if run.is_finished or isinstance(error, LeaseLost):
        return
    reason = f"{type(error).__name__}: {error}"
    with suppress(JobStopped):
        if isinstance(error, JobStopped):
            call_in(loop, run.patiently(lambda: run.give_back(reason, is_attempt=False)))
        elif isinstance(error, TRANSIENT):
            call_in(loop, run.patiently(lambda: run.give_back(reason, is_attempt=True)))
        else:
            told: JobError = describe(error or RuntimeError("it has no result"))
            call_in(loop, run.patiently(lambda: run.fail(told)))


def stop_when_told(run: Run) -> None:
    """By SIGTERM, or by a line from the server. A handler of our own, not SIG_IGN: processes that the job starts would
    inherit that."""
    signal.signal(signal.SIGTERM, lambda *_: run.interrupt())
    signal.signal(signal.SIGINT, lambda *_: run.interrupt())
    threading.Thread(target=_watch_parent, args=(run,), name="parent-watch", daemon=True).start()


def _watch_parent(run: Run) -> None:
    rest = b""
    while data := os.read(0, 4096):
        rest += data
        if STOP_LINE in rest:
            run.interrupt()
            rest = b""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)
