"""Jobs that outlive requests: frozen nouns, and what the code of a kind of jobs sees of its own. Without torch.

A job's code is a function of its JobContext, run in a process of its own: job_process.py names one for each kind. It
calls check() at every step, checkpoint() whenever what it did is on the disk and needn't be done again, and finish() at
its end. The same job may be begun again, in another process, at any moment: after a crash of it or of the server, after
a pause. What it registers has to be such that a second time changes nothing; what another run of the same job still
writes is refused, for each write is conditional on the run's epoch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from llmos_server.errors import LLMOSError
from llmos_server.settings import Settings

JobKind = Literal["tune", "batch", "eval"]
JobStatus = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]
ENDED: tuple[JobStatus, ...] = ("succeeded", "failed", "cancelled")
Wish = Literal["", "pause", "cancel"]
Level = Literal["info", "warn", "error"]
EventType = Literal["message", "metrics"]

T = TypeVar("T")

Write = Callable[[Any], Awaitable[None]]
"""Writes with an AsyncConnection of the database, within somebody's transaction. A repository offers them, such as
`store.files.writing(file)`."""
Read = Callable[[Any], Awaitable[T]]


class JobError(msgspec.Struct, frozen=True):
    """Why a job failed. As OpenAI's objects tell it."""

    code: str
    message: str
    param: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """Times are Unix milliseconds."""

    id: str
    """Chosen by whoever adds it: "ftjob-...", "batch_..."; unique among all jobs."""
    kind: JobKind
    owner: str
    """The key's id; "" is nobody's."""
    title: str
    """For administrators: which model, which recipe. Nothing of what users wrote."""
    payload: bytes
    """JSON: what is to be done."""
    priority: int = 0
    """Lower is begun earlier; equal ones by turns of their owners, then first come, first served."""
    status: JobStatus = "queued"
    wish: Wish = ""
    """What a running job has been asked for, and hasn't done yet."""
    epoch: int = 0
    """How often it was begun. Whoever runs it may write as long as this is his."""
    attempts: int = 0
    """How often it was begun since it was last known to come forward."""
    created: int
    started: int | None = None
    """For the first time."""
    ended: int | None = None
    progress: float | None = None
    """0 to 1; None where nobody knows."""
    detail: str = ""
    """What it does just now, for people."""
    error: JobError | None = None
    result: bytes | None = None
    """JSON: what has come of it so far, and in the end."""


class JobEvent(msgspec.Struct, frozen=True, kw_only=True):
    job_id: str
    number: int
    """1, 2 ... of this job."""
    created: int
    """Unix milliseconds."""
    type: EventType = "message"
    level: Level = "info"
    message: str
    data: dict[str, Any] = {}
    """Of metrics: "step", and for each name a number, or null for one that isn't finite."""


class JobFailed(LLMOSError):
    """For a job's code: it can't be done, and a second attempt would end alike. What it has done is kept."""

    def __init__(self, message: str, *, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


class RunLost(LLMOSError):
    """For a job's code: a process that it has started is gone. Another attempt goes on from the last checkpoint, as
    after the end of the job's own process."""


class JobStopped(Exception):
    """check() wants this run to end now. Let it pass: what comes of the job is dealt with outside."""


class Paused(JobStopped): ...


class Cancelled(JobStopped): ...


class Interrupted(JobStopped):
    """The server stops. The job is queued again, and goes on from its last checkpoint."""


class LeaseLost(JobStopped):
    """Somebody else runs this job now. Nothing that this run still writes counts."""


class ServerAddress(msgspec.Struct, frozen=True):
    """How a job reaches the server: as clients do, for its owner, behind all others' requests."""

    base_url: str
    """ "http://127.0.0.1:8000", without /v1."""
    key: str
    """For "Authorization: Bearer ...": it holds as long as the job's process runs."""


class JobContext(Protocol):
    """Callable from any thread of the job's process, but not from a coroutine of an event loop that others use: what
    writes waits for the database."""

    @property
    def job(self) -> Job:
        """As it was when this run began: job.result is what earlier runs told."""
        ...

    @property
    def folder(self) -> Path:
        """LLMOS_HOME/jobs/ID, there for this job alone. What is in it stays until the job is deleted."""
        ...

    @property
    def settings(self) -> Settings: ...

    @property
    def server(self) -> ServerAddress: ...

    def payload(self, type: type[T]) -> T:
        """job.payload, decoded. Raises JobFailed."""
        ...

    def log(self, message: str, level: Level = "info", data: Mapping[str, Any] | None = None) -> None:
        """An event for the job's owner. Written within a second; returns at once."""
        ...

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """An event with numbers to be plotted. As log()."""
        ...

    def progress(self, share: float | None, detail: str = "", result: Any = None) -> None:
        """How far it is, 0 to 1. result: what has come of it so far, to be seen as job.result; None leaves it as it
        was. Written within a second; returns at once."""
        ...

    def check(self) -> None:
        """At every step: costs nothing. Raises Paused, Cancelled, Interrupted or LeaseLost."""
        ...

    def read(self, read: Read[T]) -> T:
        """What `read` finds in the database. Raises StoreUnavailable."""
        ...

    def write(self, *writes: Write, result: Any = None) -> None:
        """In one transaction, if this run is still the job's; the events so far, too. result: as progress() takes it.
        Raises LeaseLost, and waits while the database can't be used."""
        ...

    def checkpoint(self, *writes: Write, result: Any = None) -> None:
        """As write(). What was done so far is on the disk and needn't be done again, so attempts count from 0."""
        ...

    def finish(self, result: Any, *writes: Write) -> None:
        """As write(), and the job has succeeded. The last call; at most one ever succeeds for one job."""
        ...
